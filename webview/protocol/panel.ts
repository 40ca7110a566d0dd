/** Extension host <-> panel page. A request and its reply are one entry; nothing else crosses this wire. */
import type { BackendChoice, RopeChoice, Sampling, SnapshotFile, WeightFormat, MatmulPrecision } from "../../engine/api.ts";
import type { AttentionChoice, KvFormats } from "../../engine/attention/api.ts";
import type { AskEvent, AskPlan, AskResult, Reply, ReplyRequest } from "../../engine/generate/api.ts";
import type { RopeSearchState } from "../../engine/eval/api.ts";
import type { PrefixListing, PrefixName } from "../../engine/kv-cache/api.ts";

/** One counted file of the workspace. */
export interface CountedFile extends SnapshotFile {
  tokens: number;
}

/** Whole state of the counts; the reader keeps the highest revision. */
export interface BudgetSnapshot {
  revision: number;
  state: "counting" | "ready" | "failed";
  /** Tokenizer the counts were made with. */
  tokenizer: string;
  doneFiles: number;
  totalFiles: number;
  /** Tokens of every counted file, at full level. */
  tokens: number;
  /** Tokens that the chosen levels put into a pack. */
  packTokens: number;
  /** Some of it is an estimate still. */
  approximate: boolean;
  /** Tokens of the target window, and of it what is kept free for the answer. */
  window: number;
  reserve: number;
  /** Tokens the loaded model was trained for, where they are known; the target window can be larger. */
  modelWindow?: number | undefined;
  bytes: number;
  excluded: number;
  /** Why counting failed, with its remedy. */
  error?: { message: string; remedy: string };
}

/** Something in a file that looks like a secret; never a piece of it. */
export interface SuspectedSecret {
  path: string;
  /** 1-based; 0 where the name of the file says it. */
  line: number;
  /** Which rule found it, e.g. "aws". */
  rule: string;
  /** What it looks like, in words. */
  message: string;
}

/** What the user chose in the panel; kept in the workspace's storage. */
export interface PanelSettings {
  rope: RopeChoice;
  attention: AttentionChoice;
  /** How keys and values are cached; a change reopens the engine. */
  kv: KvFormats;
  backend: BackendChoice;
  /** How the matmul weights are stored; a change reopens the engine. */
  weightFormat: WeightFormat;
  products: MatmulPrecision;
  sampling: Sampling;
  quote: "constrained" | "free";
  maxAnswerTokens: number;
}

/** A model's files as the page can reach them: each `uri` answers Range requests, best of `pieceBytes`. */
export interface ModelLocation {
  label: string;
  /** The GGUF file that is the whole model. */
  ggufName?: string;
  files: readonly { name: string; sizeBytes: number; pieceBytes: number; uri: string }[];
}

/** What the panel's engine is doing. */
export interface EngineReport {
  status: "starting" | "ready" | "failed";
  /** Adapter or runtime in words, once it is open. */
  device: string;
  weightFormat: string;
  /** Why it failed. */
  message: string;
}

/** What WebGPU offers to the page: nothing at all, no adapter, or one. */
export type AdapterOffer =
  | "no-webgpu"
  | "no-adapter"
  | {
      vendor: string;
      architecture: string;
      description: string;
      fallback: boolean;
      /** Largest buffer that can be bound as storage. */
      maxBindingBytes: number;
    };

/** What a run was asked with, beside what its result says itself. */
export interface RunSettings extends Pick<PanelSettings, "sampling" | "quote" | "maxAnswerTokens" | "products"> {
  /** The model as the panel calls it, and how its weights were kept. */
  model: string;
  weightFormat: WeightFormat;
}

/** A finished (or stopped) run, stored whole. */
export interface SavedRun {
  id: string;
  askedAt: string;
  result: AskResult;
  /** Absent in runs that were saved before it was kept. */
  settings?: RunSettings | undefined;
  /** Runs that it followed up, oldest first; absent where there were none, or before it was kept. */
  earlier?: string[] | undefined;
  /** What was attached to the question and was all that it was about; absent where it was about the workspace. */
  attached?: AttachedFiles | undefined;
}

/** Files that a question of VS Code's chat was limited to. */
export type AttachedFiles = Pick<ChosenQuestion, "files" | "first">;

/** Lines of one file of the workspace, 1-based, both ends included. */
export interface CitedLines {
  startLine: number;
  endLine: number;
}

export type PanelTab = "ask" | "inspect";

/** Panel asks, host answers. */
export interface HostCalls {
  "workspace/files": { params: Record<string, never>; result: { root: string; revision: number; files: CountedFile[] } };
  /** What a person should know before a question is asked: what looks like a secret in the files that would go in, and the user's limit. */
  "ask/check": { params: { paths: string[] }; result: { secrets: SuspectedSecret[]; coldPrefixSeconds: number } };
  /** Shows which levels fit a window and changes them where the user says so. */
  "levels/fit": { params: { window: number; reserve: number; question: string }; result: { applied: boolean } };
  /** Bytes as they were when hashed; throws `not-found` when the file changed since, so that a run is about one snapshot. */
  "file/read": { params: { path: string; hash: string }; result: { bytes: ArrayBuffer } };
  "citation/reveal": { params: { path: string } & CitedLines; result: { line: number } };
  /** Opens each file in an editor of its own with its lines selected, the first one in front; one that cannot be opened is named. */
  "citation/revealAll": {
    params: { files: { path: string; lines: CitedLines[] }[] };
    result: { opened: string[]; failed: { path: string; message: string }[] };
  };
  /**
   * Inserts a text at the cursor of the editor that was worked in last, and shows it. Throws `not-found` where there is none, and
   * `bad-argument` where it cannot be written.
   */
  "editor/insert": { params: { text: string }; result: { path: string; line: number } };
  /** `origin` is that of the page: nobody else may read large files from this machine. */
  "model/locate": { params: { origin: string }; result: ModelLocation };
  /** Tells what the engine does now; again whenever that changes. */
  "engine/report": { params: EngineReport; result: Record<string, never> };
  "model/choose": { params: Record<string, never>; result: { chosen: boolean } };
  "settings/read": { params: Record<string, never>; result: PanelSettings };
  "settings/write": { params: PanelSettings; result: Record<string, never> };
  "runs/list": { params: Record<string, never>; result: SavedRun[] };
  "runs/save": { params: SavedRun; result: Record<string, never> };
  /** Asks whether it is meant; false where the user thought better of it. */
  "runs/delete": { params: { id: string; question: string }; result: { deleted: boolean } };
  /** The LongRoPE search of this workspace that can be gone on with, if there is one. */
  "search/read": { params: Record<string, never>; result: { state?: RopeSearchState } };
  "search/save": { params: { state: RopeSearchState }; result: Record<string, never> };
  /** Where this page reads and writes the pages of kept prefixes: a port that answers no other origin. Without it none are kept. */
  "prefix/open": { params: { origin: string }; result: { base?: string } };
  "prefix/list": { params: Record<string, never>; result: PrefixListing };
  "prefix/touch": { params: { names: PrefixName[]; lastUsed: number }; result: Record<string, never> };
  "prefix/delete": { params: { names: PrefixName[] }; result: Record<string, never> };
  /** Asks where, and writes a text file there; false where the user thought better of it. */
  "file/save": { params: { name: string; text: string }; result: { saved: boolean } };
  /** Which tab the user looks at, whenever that changes. */
  "tab/shown": { params: { tab: PanelTab }; result: Record<string, never> };
  "log/write": { params: { level: "info" | "warn" | "error"; message: string }; result: Record<string, never> };
}

/** Host publishes to the panel; each value is whole. */
export interface HostTopics {
  budget: BudgetSnapshot;
  /** The model folder changed: the panel reopens its engine. */
  model: { revision: number };
  /** They were changed elsewhere than in the panel. */
  settings: { revision: number; settings: PanelSettings };
}

/** What the panel is doing, for the status bar and for tests. */
export interface PanelState {
  engine: "starting" | "ready" | "failed";
  run: "idle" | "packing" | "prefill" | "answering";
  backend: string;
  runs: number;
}

/** A question whose files the host chose, with the turns before it. */
export interface ChosenQuestion {
  question: string;
  files: SnapshotFile[];
  /** Paths that are kept before all others where not everything fits. */
  first: string[];
  history: { question: string; answer: string }[];
  /** They are all that the question is about, also when it is asked again; else they are the workspace as it is. */
  limited: boolean;
}

/** The settings of the panel give what is not said here. */
export interface ReplyParams extends Pick<ReplyRequest, "messages" | "maxAnswerTokens"> {
  runId: string;
  sampling: Partial<Sampling>;
}

/** Host asks, panel answers. */
export interface PanelCalls {
  "panel/ask": { params: { question: string }; result: { accepted: boolean } };
  /** One of the panel's runs: shown, saved and stopped there like any other. Waits for the one that is going on. */
  "panel/answer": { params: ChosenQuestion & { runId: string }; result: AskResult };
  /** What that question would cost; nothing is computed. */
  "panel/plan": { params: ChosenQuestion; result: AskPlan };
  /** The next turn of a conversation that is not about the workspace. Waits for the run that is going on. */
  "panel/reply": { params: ReplyParams; result: Reply };
  "panel/select": { params: { tab: PanelTab }; result: Record<string, never> };
  "panel/state": { params: Record<string, never>; result: PanelState };
  /** Opens the next citation of the answer on screen, or the one before, counted round; 0 of 0 where it has none. */
  "panel/citation": { params: { step: 1 | -1 }; result: { citation: number; of: number } };
  "panel/adapter": { params: Record<string, never>; result: { offer: AdapterOffer } };
  /** Debug: destroys the GPU device, as a driver reset would. */
  "panel/loseDevice": { params: Record<string, never>; result: { lost: boolean } };
}

/** The panel publishes what a run does that the host asked for; for the rest it asks. */
export interface PanelTopics {
  run: { runId: string; event: AskEvent };
}
