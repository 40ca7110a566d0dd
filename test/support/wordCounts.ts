/** The token server's counts without its threads: one token per word, so that a test can count by hand. */
import assert from "node:assert/strict";
import { countHandlers } from "../../extension/server/countJobs.ts";
import { type CountPool, openInlinePool } from "../../extension/server/countPool.ts";
import type { ServerOptions } from "../../extension/server/requests.ts";
import { WorkspaceCounts, type WorkspaceCountsOptions } from "../../extension/server/state.ts";
import { readTokenizer } from "../../extension/server/tokenizerFile.ts";
import { textJobsWith } from "../../extension/server/textThread.ts";
import type { BudgetSnapshot } from "../../webview/protocol/panel.ts";
import { withTempTree } from "./tempTree.ts";

export const plainSettings: ServerOptions = {
  tokenizer: "o200k",
  storageFolder: "",
  include: [],
  maxFileBytes: 1024 * 1024,
  window: 1000,
  reserve: 100,
  git: false,
  commits: 20,
};

export interface WordBench {
  folder: string;
  counts: WorkspaceCounts;
  published: BudgetSnapshot[];
  /** Every text that was counted but the lines that name files, in order. */
  texts: string[];
}

/** Words between blanks; `onText` hears of each text that is counted. */
export function wordPool(onText: (text: string) => void = () => undefined): CountPool {
  const decoder = new TextDecoder();
  const tokenizer = {
    countUtf8(utf8: Uint8Array): number {
      const text = decoder.decode(utf8);
      if (!/^=== .* ===\n$/.test(text)) onText(text);
      return text.split(/\s+/).filter(Boolean).length;
    },
  };
  return openInlinePool(() => Promise.resolve(countHandlers(tokenizer, async () => textJobsWith(tokenizer))));
}

/** Counts with the tokenizer of a source, as the threads read it. */
export function readingPool(source: string): CountPool {
  return openInlinePool(async () => {
    const tokenizer = await readTokenizer(source);
    return countHandlers(tokenizer, async () => textJobsWith(tokenizer));
  });
}

export function newCounts(folder: string, changes: Partial<WorkspaceCountsOptions> = {}): WorkspaceCounts {
  return new WorkspaceCounts({
    roots: [{ folder, prefix: "" }],
    settings: plainSettings,
    openPool: () => wordPool(),
    publish: () => undefined,
    startProgress: () => Promise.resolve({ report: () => undefined, done: () => undefined, onCancel: () => undefined }),
    log: (message) => assert.fail(message),
    ...changes,
  });
}

/** Counts a tree, then runs `use` on it; nothing may have been logged. */
export async function withCounts(
  tree: Record<string, string>,
  use: (bench: WordBench) => Promise<void>,
  changes: Partial<WorkspaceCountsOptions> = {},
): Promise<void> {
  await withTempTree(tree, async (folder) => {
    const published: BudgetSnapshot[] = [];
    const texts: string[] = [];
    const counts = newCounts(folder, {
      openPool: () => wordPool((text) => texts.push(text)),
      publish: (snapshot) => published.push(snapshot),
      ...changes,
    });
    await counts.recount();
    try {
      await use({ folder, counts, published, texts });
    } finally {
      await counts.dispose();
    }
  });
}
