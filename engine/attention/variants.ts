/** Attention of a layer that does not follow page lists written on the host: dense, and decoding by top pages. At most one attends to a chunk. */
import type { DenseScores, PositionPlan } from "../api.ts";
import type { Span } from "../kernels/attentionOps.ts";
import type { AttentionChoice, KeptMass } from "./api.ts";
import type { Attended, ChunkRows } from "./attend.ts";
import type { LayerPositions } from "./chunkPositions.ts";
import { openDecodedMass, type DecodedMass } from "./decodedMass.ts";
import { openDense, type DenseSource } from "./dense.ts";
import { openTopPages, type TopPages, type TopPagesSource } from "./topPages.ts";

export interface AttentionVariants extends Pick<TopPages, "chosenRoom"> {
  /** What decoded tokens keep; lies behind the sampled token. */
  readonly mass: DecodedMass;
  readonly keptMass: KeptMass | undefined;
  /** What dense attention's scores took since the cache was empty. */
  readonly denseScores: DenseScores | undefined;
  /** Called when there is room in the cache for `tokens` tokens. Throws what `DenseAttention.prepare` throws. True when buffers came. */
  prepare(plan: PositionPlan, tokens: number): Promise<boolean>;
  /** Called when positions of the chunk are written. */
  begin(chunk: Span & { isDecoded: boolean }): void;
  /** Called when the layer's keys are cached. Returns the buffer of log-sum-exps, undefined where page lists are to be followed. */
  attend(layer: number, rows: ChunkRows, positions: LayerPositions, into: Attended, span: Span): GPUBuffer | undefined;
  /** All layers have gone through the tokens before `length`. */
  advance(length: number): void;
  /** Keys from `length` on are gone, or others. */
  truncate(length: number): void;
}

export function openVariants(
  source: Omit<TopPagesSource & DenseSource, "count" | "mass"> & { choice: () => AttentionChoice },
): AttentionVariants {
  const mass = openDecodedMass(source.spec);
  const pages = openTopPages({ ...source, mass, count: () => source.choice().topPages });
  const dense = openDense(source);
  const isDense = (): boolean => source.choice().policy.kind === "dense";
  /** The token at hand is decoded by top pages, whatever its prompt was read with. */
  let readsPages = false;

  return {
    mass,
    get keptMass() {
      return mass.kept;
    },
    get denseScores() {
      return dense.bytes;
    },
    async prepare(plan, tokens) {
      const grown = await pages.prepare();
      if (isDense()) return (await dense.prepare(plan, tokens)) || grown;
      dense.release();
      return grown;
    },
    begin(chunk) {
      readsPages = chunk.isDecoded && source.choice().topPages !== undefined;
      mass.begin(chunk);
      pages.begin(chunk);
      if (isDense()) dense.begin(chunk);
    },
    attend(layer, rows, positions, into, span) {
      const read = pages.attend(layer, rows, positions, into, span);
      if (read !== undefined || readsPages || !isDense()) return read;
      return dense.attend(layer, rows, positions, into, span);
    },
    chosenRoom: (words, layer, samples) => pages.chosenRoom(words, layer, samples),
    advance: (length) => pages.advance(length),
    truncate(length) {
      pages.truncate(length);
      if (length === 0) dense.reset();
    },
  };
}
