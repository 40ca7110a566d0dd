/** Panel page <-> engine worker. */
import type {
  AskEvent,
  AskOptions,
  AskResult,
  BackendChoice,
  PooledAttention,
  PoolRequest,
  SessionInfo,
  SnapshotFile,
  WeightFormat,
} from "../../engine/api.ts";

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
    };
    result: SessionInfo;
  };
  "engine/ask": {
    params: {
      runId: string;
      question: string;
      files: SnapshotFile[];
      history: { question: string; answer: string }[];
      options: AskOptions;
    };
    result: AskResult;
  };
  "engine/pool": { params: PoolRequest; result: PooledAttention };
  "engine/loseDevice": { params: Record<string, never>; result: { lost: boolean } };
}

/** Worker asks, page answers. */
export interface PageCalls {
  "file/read": { params: { path: string; hash: string }; result: { bytes: ArrayBuffer } };
  "model/read": { params: { name: string; offset: number; length: number }; result: { bytes: ArrayBuffer } };
  "ort/assets": { params: Record<string, never>; result: OrtAssets };
}

/** Worker publishes while a run goes on or a model opens. */
export interface EngineTopics {
  run: { runId: string; event: AskEvent };
  /** Sent again after a lost device: backend and device can be others then. */
  session: SessionInfo;
  opening: { stage: string; doneBytes: number; totalBytes: number };
}

export type PageTopics = Record<string, never>;
