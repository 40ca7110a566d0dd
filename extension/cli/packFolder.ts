import { resolve } from "node:path";
import { throwIfAborted } from "../../engine/errors.ts";
import { levelOf } from "../../engine/pack/contextSet.ts";
import type { Level, LevelMap } from "../../engine/pack/levels.ts";
import { readMentions } from "../../engine/pack/mentions.ts";
import { type NamesOfText, nameIds } from "../../engine/pack/names.ts";
import type { PackSource } from "../../engine/pack/packToWindow.ts";
import { rankFiles } from "../../engine/pack/rank.ts";
import { runBatches } from "../server/batches.ts";
import type { CountPool } from "../server/countPool.ts";
import { gitRows } from "../server/gitRows.ts";
import type { ExcludedRow } from "../server/requests.ts";
import { scanSecrets, secretName } from "../server/secrets.ts";
import type { OutlineAnswer, ScanAnswer } from "../server/textJobs.ts";
import { readTextFile } from "../server/textFile.ts";
import { byPath, type FoundFile } from "../server/walk.ts";

export interface PackFolderOptions {
  folder: string;
  files: readonly FoundFile[];
  pool: CountPool;
  /** Levels of a context set; what it says nothing of is for the solver to choose. */
  levels: LevelMap;
  question: string;
  /** Paths of files that may go in although something in them looks like a secret. */
  allowSecrets: readonly string[];
  /** Commits whose messages git's rows show; undefined: nothing of git's. */
  commits: number | undefined;
  signal: AbortSignal;
  onProgress: (done: number, all: number) => void;
}

interface ReadFile {
  found: FoundFile;
  text: string;
  /** Why it stays out unless somebody chose it. */
  suspect: string | undefined;
  outline: OutlineAnswer | undefined;
  names: NamesOfText;
  scan: ScanAnswer | undefined;
}

/** What of a folder may go into a pack: its text files with outline and rank, and git's rows; and what may not, with the reason. */
export async function packSources(options: PackFolderOptions): Promise<{ sources: PackSource[]; excluded: ExcludedRow[] }> {
  const excluded: ExcludedRow[] = [];
  const read = await readFiles(options, excluded);
  const allowed = new Set(options.allowSecrets);
  const files = read.filter(({ found: { path }, scan }) => {
    const reason = allowed.has(path) ? undefined : secretIn(path, scan);
    if (reason !== undefined) excluded.push({ path, reason: `${reason}; --allow-secrets "${path}" includes it`, kind: "secret" });
    return reason === undefined;
  });
  const git = options.commits === undefined ? [] : await gitSources(options, options.commits, allowed, excluded);
  return { sources: [...rankedSources(files, options), ...git], excluded };
}

async function readFiles({ files, pool, signal, onProgress }: PackFolderOptions, excluded: ExcludedRow[]): Promise<ReadFile[]> {
  const read: ReadFile[] = [];
  let done = 0;
  const limits = { mostWeight: 128 * 1024, mostItems: 32, lanes: pool.width, check: () => throwIfAborted(signal) };
  await runBatches(files, { ...limits, weightOf: ({ sizeBytes }) => sizeBytes }, async (batch) => {
    const requests = batch.map(({ path, absolute }) => ({ path, absolute }));
    const [outlines, names, scans, texts] = await Promise.all([
      pool.call("outlines", { files: requests }, { signal }),
      pool.call("names", { files: requests }, { signal }),
      pool.call("scan", { files: requests }, { signal }),
      Promise.all(batch.map(({ path, absolute }) => readTextFile(absolute, { path }))),
    ]);
    batch.forEach((found, i) => {
      const text = texts[i];
      if (!text) return;
      if ("reason" in text) {
        excluded.push({ path: found.path, reason: text.reason, kind: text.kind });
        return;
      }
      // What changed between two readings has no outline and no clean bill: it is left out as if it held a secret.
      const same = <Answer extends { hash: string }>(answer: Answer | undefined) =>
        answer?.hash === text.hash ? answer : undefined;
      read.push({
        found,
        text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(text.utf8),
        suspect: text.suspect?.reason,
        outline: same(outlines[i]),
        names: names[i] ?? { definitions: nameIds([]), references: nameIds([]) },
        scan: same(scans[i]),
      });
    });
    done += batch.length;
    onProgress(done, files.length);
  });
  return read.sort((a, b) => byPath(a.found, b.found));
}

function secretIn(path: string, scan: ScanAnswer | undefined): string | undefined {
  const named = secretName(path);
  if (named !== undefined) return named;
  if (!scan) return "it changed while it was read";
  const [first] = scan.secrets;
  return first && `line ${first.line}: ${first.message}`;
}

/** Every file with its rank, in path order, so that a prefix stays the same while ranks move. */
function rankedSources(files: readonly ReadFile[], { levels, question }: PackFolderOptions): PackSource[] {
  const pins = files.map(({ found, suspect }) => pinOf(found.path, suspect, levels));
  const ranks = rankFiles(
    files.map(({ found, names, outline }) => ({
      path: found.path,
      mtimeMs: found.mtimeMs,
      references: names.references,
      definitions: outline && "lines" in outline ? outline.definitions : names.definitions,
    })),
    {
      open: new Set(),
      pinned: new Set(files.flatMap(({ found }, i) => (pins[i] === undefined || pins[i] === "excluded" ? [] : [found.path]))),
      mentions: readMentions(question.trim() === "" ? [] : [question]),
    },
  );
  return files.map(({ found: { path }, text, outline }, i) => {
    const pinned = pins[i];
    return {
      path,
      text,
      ...(ranks.get(path) ?? { rank: 0, reasons: [] }),
      ...(outline && "lines" in outline ? { lines: outline.lines } : {}),
      ...(pinned === undefined ? {} : { pinned }),
    };
  });
}

/** What the context set says, and what stays out by itself; undefined where the solver chooses. */
function pinOf(path: string, suspect: string | undefined, levels: LevelMap): Level | undefined {
  const { level, key } = levelOf(levels, path);
  if (key !== undefined) return level;
  return suspect === undefined ? undefined : "excluded";
}

/** Git's rows as files: who asks for them wants them, so they come before everything the solver ranks. */
async function gitSources(
  { folder, levels, signal }: PackFolderOptions,
  commits: number,
  allowed: ReadonlySet<string>,
  excluded: ExcludedRow[],
): Promise<PackSource[]> {
  const sources: PackSource[] = [];
  for (const { path, text, reason } of await gitRows(resolve(folder), { commits, trusted: true, signal })) {
    if (text === "") {
      excluded.push({ path, reason, kind: "git" });
      continue;
    }
    const [secret] = allowed.has(path) ? [] : await scanSecrets(path, text, signal);
    if (secret) {
      excluded.push({
        path,
        reason: `line ${secret.line}: ${secret.message}; --allow-secrets "${path}" includes it`,
        kind: "secret",
      });
      continue;
    }
    const { level, key } = levelOf(levels, path);
    sources.push({ path, text, rank: 1, reasons: [`asked for: ${reason}`], ...(key === undefined ? {} : { pinned: level }) });
  }
  return sources;
}
