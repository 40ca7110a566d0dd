/** What goes over the wires of a ring: commands and reports between the ring and each rank, keys between neighbours. */
import type { PlainError } from "../../errors.ts";
import { isRecord } from "../../formats/json.ts";
import type { KeyBlock, RankOptions } from "./compute.ts";
import type { PlainPlan } from "./plainPlan.ts";
import type { Shard } from "./schedule.ts";
import type { RankStep } from "./timings.ts";

/** The ring asks, a rank does; `run` counts prefills, so that what is left of a stopped one is known. */
export type RankCommand =
  | { kind: "open"; options: RankOptions }
  | {
      kind: "prefill";
      run: number;
      rank: number;
      shards: readonly Shard[];
      ids: Int32Array<ArrayBuffer>;
      plan: PlainPlan;
      tapLayers: readonly number[];
      tapRows: Uint32Array<ArrayBuffer>;
      /** First row of the final residual stream that is wanted back. */
      statesFrom: number;
    }
  | { kind: "abort"; run: number }
  | { kind: "close" };

export type RankReport =
  | { kind: "opening"; doneBytes: number; totalBytes: number }
  | { kind: "opened"; device: string }
  /** Without `run` the rank could not be opened. */
  | { kind: "failed"; run?: number; error: PlainError }
  | LayerReport
  /** `states` are rows of the residual stream, in f32. */
  | { kind: "finished"; run: number; states: ArrayBuffer };

/** After a layer: the block of `owner`, whose way round ends here, as KeyRows; and what belongs to the rank's own tokens, in f32. */
export interface LayerReport {
  kind: "layer";
  run: number;
  layer: number;
  owner: number;
  keys: readonly ArrayBuffer[];
  values: ArrayBuffer;
  /** Keys before they were mixed and rotated, where the model mixes them. */
  rawKeys: ArrayBuffer | undefined;
  tap: { queries: readonly ArrayBuffer[]; lse: ArrayBuffer } | undefined;
  steps: readonly RankStep[];
}

/** From neighbour to neighbour: the block for a step, or raw keys in front of tokens that the other has. */
export type LinkMessage =
  | { kind: "block"; run: number; layer: number; step: number; sentAt: number; block: KeyBlock }
  | { kind: "rows"; run: number; layer: number; step: 0; sentAt: number; rows: ArrayBuffer };

export type RingMessage = RankCommand | RankReport | LinkMessage;

/** One end of a pipe between two workers: a MessagePort of the web or of Node. Messages are kept until somebody listens. */
export interface RingPort {
  /** Buffers in `transfer` are the receiver's afterwards. */
  post(message: RingMessage, transfer?: readonly ArrayBuffer[]): void;
  listen(handler: (message: unknown) => void): void;
  close(): void;
}

/** Ends of one rank's pipes. */
export interface RankPorts {
  control: RingPort;
  /** Blocks go out by `next` and come in by `previous`. */
  next: RingPort;
  previous: RingPort;
}

/** Both ends are of one build, so the kind of a message says its shape; anything else on the wire is none of ours. */
export function isCommand(raw: unknown): raw is RankCommand {
  return hasKind(raw, ["open", "prefill", "abort", "close"]);
}

export function isReport(raw: unknown): raw is RankReport {
  return hasKind(raw, ["opening", "opened", "failed", "layer", "finished"]);
}

export function isLinkMessage(raw: unknown): raw is LinkMessage {
  return hasKind(raw, ["block", "rows"]);
}

function hasKind(raw: unknown, kinds: readonly RingMessage["kind"][]): boolean {
  return isRecord(raw) && kinds.some((kind) => kind === raw["kind"]);
}

/** Buffers of a block, to be transferred with it. */
export function buffersOf({ keys, values }: KeyBlock): readonly ArrayBuffer[] {
  return [...keys, values];
}
