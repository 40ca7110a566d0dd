/** Extension host <-> token server: the custom requests beside the language server protocol. One entry is a request and its reply. */
import type { Level, LevelMap, LineRange } from "../../engine/pack/levels.ts";
import type { PackFormat } from "../../engine/pack/exportPack.ts";
import type { CountedFile, BudgetSnapshot, SuspectedSecret } from "../../webview/protocol/panel.ts";

/** Sent at start (initializationOptions) and when a setting changes. */
export interface ServerOptions {
  /** What counts: "o200k", "cl100k", or the absolute path of a model folder or tokenizer file. */
  tokenizer: string;
  /** Folder of the persistent index; absolute path. Empty: nothing is kept. */
  storageFolder: string;
  /** Only files that one of these globs matches; empty: all. */
  include: readonly string[];
  /** Larger files are rows with a reason. */
  maxFileBytes: number;
  /** Tokens of the target model's window, and of it what is kept free for the answer. */
  window: number;
  reserve: number;
  /** Tokens the loaded model was trained for, where they are known: the window can be meant for another one. */
  modelWindow?: number;
  /** Git is only run where the user trusts the workspace: its configuration can name programs. */
  git: boolean;
  /** Commits whose messages the row of git's log has; 0: no such row. */
  commits: number;
}

/** Why something is not counted. */
export type ExclusionKind =
  | "ignored" // by a git or .longcontextignore rule
  | "git-data"
  | "installed-packages"
  | "not-included" // no include glob matches
  | "too-large"
  | "too-many-files"
  | "binary"
  | "generated"
  | "minified"
  | "symlink"
  | "submodule"
  | "unreadable"
  | "secret"
  | "other-root"
  | "git"; // a row of git's that has nothing to show

/** A file or folder (path ends in "/") that is not counted, and why in words. */
export interface ExcludedRow {
  path: string;
  reason: string;
  kind: ExclusionKind;
}

/** Something about a counted file that its reader should know. */
export interface FileMark {
  kind: "utf16" | "bom" | "invalid-utf8" | "minified" | "generated" | "long-line" | "unsaved" | "duplicate";
  message: string;
}

/** A file that goes into a pack. */
export interface ListedFile extends CountedFile {
  level: Exclude<Level, "excluded">;
  /** For `outline`: the lines that are kept. */
  lines?: LineRange[];
  mtimeMs: number;
}

export interface WorkspaceListing {
  root: string;
  revision: number;
  files: ListedFile[];
  excluded: ExcludedRow[];
}

/** One row of the Budget tree. */
export interface BudgetRow {
  /** Path in the workspace; a folder's ends in "/"; a git row's begins with "git:". */
  path: string;
  name: string;
  kind: "folder" | "file" | "excluded" | "git";
  /** What it costs in the pack at its level, with the lines that name its files. */
  tokens: number;
  /** Tokens of its text as it is, or of all texts below it. */
  fullTokens: number;
  /** An estimate, not yet the count. */
  approximate: boolean;
  /** Files below that go into the pack, of all. */
  includedFiles: number;
  files: number;
  /** "mixed" for a folder whose files differ. */
  level: Level | "mixed";
  /** One line: why it is at this level, or why it is left out. */
  reason: string;
  marks: FileMark[];
  /** Newest change below, in milliseconds since 1970; 0 where unknown. */
  mtimeMs: number;
}

export type BudgetSort = "tokens" | "path" | "changed";

/** What lies below a folder, or what a filter finds: at most as many rows as were asked for, and how many more there are. */
export interface BudgetChildren {
  rows: BudgetRow[];
  hidden: number;
  /** What is not counted; with a filter these are among `rows`. */
  leftOut: BudgetRow[];
  leftOutHidden: number;
  /** Why it is not counted, the commonest first, as "binary content (3)". */
  leftOutReasons: string;
}

/** What applying a fit would do to one file. */
export interface FitRow {
  path: string;
  from: Level;
  to: Level;
  tokens: number;
  fullTokens: number;
  reason: string;
}

export interface FitPreview {
  /** Of the state it was made from; applying it to another revision is refused. */
  revision: number;
  budgetTokens: number;
  tokens: number;
  kept: number;
  outlined: number;
  named: number;
  dropped: number;
  /** Of each level the largest; `hiddenRows` of them are not listed. */
  rows: FitRow[];
  hiddenRows: number;
  /** Of the solver and of ranking; reading and outlining the files comes before. */
  elapsedMs: number;
}

/** A remark on a file that has a quick fix: shown in the Problems view. */
export interface Finding {
  path: string;
  /** 1-based; 0 where the whole file is meant. */
  line: number;
  kind:
    | "minified"
    | "generated"
    | "over-budget-folder"
    | "secret"
    | "duplicate"
    | "long-line"
    | "binary"
    | "too-large"
    | "invalid-utf8";
  severity: "warning" | "information" | "hint";
  message: string;
  /** Levels that the quick fixes offer, by path. */
  fixes: { title: string; levels: LevelMap }[];
}

/** Tokens of one symbol, for code lens and hover. */
export interface SymbolTokens {
  name: string;
  kind: string;
  /** 0 at the top level of the file. */
  depth: number;
  /** Where its name stands. Lines are 1-based. */
  nameLine: number;
  /** With its documentation and decorators. */
  startLine: number;
  /** Inclusive. */
  endLine: number;
  tokens: number;
}

/** A question that the files of the workspace answer, and where the answer stands. */
export interface ExampleQuestion {
  question: string;
  /** What is asked for: a name that is defined once. */
  name: string;
  path: string;
  /** 1-based line of the name. */
  line: number;
}

/** The window and what of it is reserved, in tokens, as the settings have them. */
export interface FitWindow {
  window: number;
  reserve: number;
}

export interface PackExport {
  /** Undefined where it was written to a file. */
  text?: string;
  tokens: number;
  files: number;
  /** Files a secret was found in: left out unless they were allowed. */
  withheld: { path: string; reason: string }[];
}

/** Parameters and results, by method name. */
export interface ServerCalls {
  /** What goes into a pack at the user's levels, or at these, which stay a question: nothing of his is changed. */
  "longContext/listing": { params: { levels?: LevelMap }; result: WorkspaceListing };
  /** Rows directly below a folder ("" is the workspace); with a filter, everything below whose path it matches. */
  "longContext/children": {
    params: { path: string; filter?: string; sort: BudgetSort; limit: number; leftOutLimit: number };
    result: BudgetChildren;
  };
  /** One row, or undefined when there is none of this path (any more). */
  "longContext/row": { params: { path: string }; result: { row?: BudgetRow } };
  /** Everything that decided the level of a path, one sentence each. */
  "longContext/why": { params: { path: string }; result: { sentences: string[] } };
  "longContext/setLevels": { params: { levels: LevelMap }; result: { revision: number } };
  /** Rows whose check boxes were checked and unchecked. */
  "longContext/checkRows": { params: { takenIn: string[]; leftOut: string[] }; result: { revision: number } };
  /** Replaces all levels, as a context set does. */
  "longContext/replaceLevels": { params: { levels: LevelMap }; result: { revision: number } };
  /** Forgets what was chosen for these paths and everything below them; `forgotten` is how many choices that were. */
  "longContext/resetLevels": { params: { paths: string[] }; result: { forgotten: number; revision: number } };
  /** The levels as they are, for saving as a context set. */
  "longContext/levels": { params: Record<string, never>; result: { levels: LevelMap } };
  /** Takes the last change of levels back; `undone` is false when there is none. Of a fit, also says which window was set before. */
  "longContext/undo": {
    params: Record<string, never>;
    result: { undone: boolean; windowBefore?: FitWindow; revision: number };
  };
  "longContext/fit": {
    params: { window: number; reserve: number; question: string; openPaths: string[] };
    result: FitPreview;
  };
  /** Applies the last fit that was made; refused with `bad-argument` where files or levels changed since. */
  "longContext/applyFit": { params: { revision: number; windowBefore: FitWindow }; result: { revision: number } };
  /** What is known by now; a later state of the counts says that there is more. */
  "longContext/findings": { params: Record<string, never>; result: { findings: Finding[] } };
  /** Tokens of any text, for a selection in an editor. */
  "longContext/countText": { params: { text: string }; result: { tokens: number } };
  "longContext/symbols": { params: { path: string }; result: { symbols: SymbolTokens[] } };
  /** What looks like a secret in what these files give to a question at their levels. */
  "longContext/secrets": { params: { paths: string[] }; result: { secrets: SuspectedSecret[] } };
  /** Nothing where no file defines a name that another one uses. */
  "longContext/example": { params: Record<string, never>; result: { example?: ExampleQuestion } };
  /** Text of one of git's rows, where it still has the hash; undefined where it has not. */
  "longContext/gitText": { params: { path: string; hash?: string }; result: { text?: string } };
  /** The pack as text, or written to `file` (an absolute path), which keeps a large one out of the extension host. */
  "longContext/export": {
    params: { format: PackFormat; allowSecretsIn: string[]; file?: string };
    result: PackExport;
  };
  /** Recounts with other options. */
  "longContext/configure": { params: ServerOptions; result: Record<string, never> };
}

/** Client -> server notification: files on disk that changed, came or went; `more` where they are too many to name. */
export const changedNotification = "longContext/changed";
export interface ChangedNotification {
  uris: string[];
  more: boolean;
}

/** Server -> client notification with the whole state of the counts. */
export const budgetNotification = "longContext/budget";
export type BudgetNotification = BudgetSnapshot;
