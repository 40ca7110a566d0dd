/** Panel page <-> engine worker. */
import type {
  BackendChoice,
  PooledAttention,
  PoolRequest,
  RopeChoice,
  SessionInfo,
  SnapshotFile,
  WeightFormat,
  MatmulPrecision,
} from "../../engine/api.ts";
import type { AttentionFacts, KvFormats } from "../../engine/attention/api.ts";
import type {
  AnswerCheck,
  AskEvent,
  AskOptions,
  AskPlan,
  AskResult,
  CheckProgress,
  Reply,
  ReplyRequest,
} from "../../engine/generate/api.ts";
import type { AttentionTable, AttentionTableRequest } from "../../engine/planner/api.ts";
import type { RopePreview, RopeSearchEvent, RopeSearchRequest, RopeSearchResult } from "../../engine/eval/api.ts";
import type { PrefixListing, PrefixName } from "../../engine/kv-cache/api.ts";

/** onnxruntime-web's WASM binary, fetched by the page because a worker cannot fetch webview resources. */
export interface OrtAssets {
  wasm: ArrayBuffer;
}

/** Page asks, worker answers. */
export interface EngineCalls {
  "engine/open": {
    params: {
      label: string;
      ggufName?: string;
      files: { name: string; sizeBytes: number; pieceBytes: number }[];
      backend: BackendChoice;
      weightFormat: WeightFormat;
      products: MatmulPrecision;
      kv: KvFormats;
    };
    result: SessionInfo;
  };
  "engine/ask": {
    params: {
      runId: string;
      question: string;
      files: SnapshotFile[];
      /** Paths that are kept before all others. */
      first?: string[];
      history: { question: string; answer: string }[];
      options: AskOptions;
    };
    result: AskResult;
  };
  /** The next turn of a conversation that is not about the workspace; its events come as `run` under this id. */
  "engine/reply": { params: { runId: string; request: ReplyRequest }; result: Reply };
  /** What that question would cost now; nothing is computed. */
  "engine/plan": { params: Omit<EngineCalls["engine/ask"]["params"], "runId">; result: AskPlan };
  "engine/planAttention": { params: AttentionTableRequest; result: AttentionTable };
  /** The last question again under another scaling, approximately; its events come as `run` under this id. */
  "engine/previewRope": { params: { runId: string; rope: RopeChoice }; result: RopePreview };
  /** How much the last answer depends on what it cites; `check` says under this id how far it is. */
  "engine/checkAnswer": { params: { checkId: string }; result: AnswerCheck };
  /** An abort ends it with what there is. */
  "engine/searchRope": {
    params: { searchId: string; request: Omit<RopeSearchRequest, "readFile"> };
    result: RopeSearchResult;
  };
  /** What each head did in the last run. */
  "engine/headFacts": { params: { queries: number }; result: AttentionFacts };
  "engine/pool": { params: PoolRequest; result: PooledAttention };
  "engine/loseDevice": { params: Record<string, never>; result: { lost: boolean } };
}

/** Worker asks, page answers. */
export interface PageCalls {
  "file/read": { params: { path: string; hash: string }; result: { bytes: ArrayBuffer } };
  "model/read": { params: { name: string; offset: number; length: number }; result: { bytes: ArrayBuffer } };
  "ort/assets": { params: Record<string, never>; result: OrtAssets };
  /** Kept prefixes; a cap of 0 bytes where the host has no place for them. */
  "prefix/list": { params: Record<string, never>; result: PrefixListing };
  /** Without bytes where there is no such page (any more). */
  "prefix/read": { params: PrefixName; result: { bytes?: ArrayBuffer } };
  "prefix/write": { params: { name: PrefixName; lastUsed: number; bytes: ArrayBuffer }; result: Record<string, never> };
  "prefix/touch": { params: { names: PrefixName[]; lastUsed: number }; result: Record<string, never> };
  "prefix/delete": { params: { names: PrefixName[] }; result: Record<string, never> };
}

/** A rank of a ring, which is a worker of the worker, asks; the worker answers. */
export type RankCalls = Pick<PageCalls, "model/read">;

/** Worker publishes while a run goes on or a model opens. */
export interface EngineTopics {
  run: { runId: string; event: AskEvent };
  search: { searchId: string; event: RopeSearchEvent };
  check: { checkId: string; progress: CheckProgress };
  /** Sent again after a lost device: backend and device can be others then. */
  session: SessionInfo;
  opening: { stage: string; doneBytes: number; totalBytes: number };
}

export type PageTopics = Record<string, never>;
