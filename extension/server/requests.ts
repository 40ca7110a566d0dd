/** Extension host <-> token server: the custom requests beside the language server protocol. One entry is a request and its reply. */
import type { CountedFile, BudgetSnapshot } from "../../webview/protocol/panel.ts";

/** Sent at start (initializationOptions) and when the model changes. */
export interface ServerOptions {
  /** Folder whose tokenizer.json counts; absolute path. */
  modelFolder: string;
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
  | "other-root";

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

export interface WorkspaceListing {
  root: string;
  revision: number;
  files: CountedFile[];
  excluded: ExcludedRow[];
}

/** Method names; parameter and result types are beside them. */
export const requests = {
  /** params: Record<string, never>, result: WorkspaceListing; waits for a running count. */
  listing: "longContext/listing",
  /** params: ServerOptions, result: Record<string, never>; recounts with another tokenizer. */
  configure: "longContext/configure",
} as const;

/** Server -> client notification with the whole state of the counts. */
export const budgetNotification = "longContext/budget";
export type BudgetNotification = BudgetSnapshot;
