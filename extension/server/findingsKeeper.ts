import { plainError } from "../../engine/errors.ts";
import { marksOf } from "./budgetRows.ts";
import { excludedOf, filesOf } from "./budgetTable.ts";
import { findingsOf } from "./findings.ts";
import type { Finding } from "./requests.ts";
import { secretName } from "./secrets.ts";
import type { WorkspaceCounts } from "./state.ts";

/** Findings of a workspace: what is known is told at once, what nobody looked into yet is scanned behind everything else. */
export class FindingsKeeper {
  private readonly counts: () => WorkspaceCounts;
  private readonly log: (message: string) => void;
  private scanning: Promise<void> | undefined;
  /** Texts that were scanned or could not be: asking again for those would never end. */
  private readonly tried = new Set<string>();

  constructor(counts: () => WorkspaceCounts, log: (message: string) => void) {
    this.counts = counts;
    this.log = log;
  }

  /** What is known by now. Where more is to be found, everybody is told once it is. */
  findings(): Finding[] {
    const counts = this.counts();
    const { table, knowledge, selection, settings } = counts;
    const all = filesOf(table.root).filter(({ entry }) => !entry.approximate);
    const unscanned = knowledge.unscanned(all.map(({ entry }) => entry)).filter(({ hash }) => !this.tried.has(hash));
    if (unscanned.length > 0 && !this.scanning) {
      for (const { hash } of unscanned) this.tried.add(hash);
      this.scanning = knowledge
        .scansOf(unscanned)
        .then(() => {
          counts.publishNow();
          counts.keepSoon();
        })
        .catch((error: unknown) => {
          const { code, message } = plainError(error);
          if (code !== "aborted") this.log(`files cannot be scanned: ${message}`);
        })
        .finally(() => (this.scanning = undefined));
    }
    const files = all.map(({ entry, level, packTokens }) => {
      const { path, tokens, sizeBytes: bytes, hash } = entry;
      const hostileLine = knowledge.scan(hash)?.hostileLine;
      return { path, tokens, packTokens, bytes, hash, level, marks: marksOf(table, entry), ...(hostileLine && { hostileLine }) };
    });
    const secrets = all.flatMap(({ entry: { path, hash } }) => {
      const named = secretName(path);
      if (named !== undefined) return [{ path, line: 0, message: named }];
      return (knowledge.scan(hash)?.secrets ?? []).map(({ line, message }) => ({ path, line, message }));
    });
    const { window, reserve } = settings;
    return findingsOf({ files, excluded: excludedOf(table.root), secrets, levels: selection.levels(), window, reserve });
  }
}
