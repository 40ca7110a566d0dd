/**
 * What a policy that leaves keys out keeps of the exact attention, measured while a prompt is read: sampled queries, spread over what is
 * appended, are scored on every key in their layers' own windows when their chunk runs, in all layers and heads. Where keys are evicted only
 * queries are sampled that come while everything in front of them is still in the cache.
 */
import type { Band } from "../../api.ts";
import { storageBuffer, type Readback } from "../../gpu/buffers.ts";
import { oldestKept } from "../../kv-cache/retention.ts";
import { PAGE_TOKENS, type AttentionPolicy, type KeptMass, type Pattern } from "../api.ts";
import { gatherKept } from "../patterns/keptMass.ts";
import { patternOf } from "../patterns/patternOf.ts";
import { aShape } from "../patterns/runs.ts";
import { keysOf } from "./sampledRows.ts";
import type { LayerOfChunk, Scoring, ScoringParts } from "./scoring.ts";

/** Sampled queries of one append at most. */
export const MOST_SAMPLES = 64;
/** One of so many queries of a short prompt is sampled, and of what goes on behind a first piece. */
const STRIDE = 16;
const LATER_STRIDE = 64;

/** Keys that a policy shows, as a pattern whatever else it does; undefined where it shows all, or chooses them. */
export function shownBy(policy: AttentionPolicy): Pattern | undefined {
  return policy.kind === "sinks" ? aShape(policy.sinks, policy.window) : patternOf(policy);
}

/** Up to `count` positions of start .. end - 1, the last one among them. */
export function spreadPositions(start: number, end: number, count: number): number[] {
  const positions = new Set<number>();
  for (let sample = 1; sample <= count; sample++) positions.add(start + Math.ceil((sample * (end - start)) / count) - 1);
  return [...positions].filter((position) => position >= start);
}

/** One append: `goesOn` where it goes on with the prompt of the one before. */
export interface AppendedTokens {
  start: number;
  tokens: number;
  goesOn: boolean;
}

export interface KeptMassMeter {
  /** Of the last prompt; undefined where no query could be sampled. */
  readonly kept: KeptMass | undefined;
  /** Chooses what is sampled of an append, which runs in chunks of at most `maxTokens` tokens. */
  begin(append: AppendedTokens, maxTokens: number): void;
  /** Called for each layer of a chunk whose queries and keys are on the device, with what the chunk sees. */
  measure(source: LayerOfChunk, pattern: Pattern): Promise<void>;
  /** Called when everything is appended: reads back what was measured. */
  end(): Promise<void>;
}

export function openKeptMass(parts: ScoringParts & { readback: Readback }, scoring: Scoring): KeptMassMeter {
  const { spec, gpu, recorder, readback, cache } = parts;
  const { layerCount: L, headCount: H } = spec;
  /** [samples, L, H] */
  const lse = storageBuffer(gpu, "log-sum-exps of samples", MOST_SAMPLES * L * H * 4);
  const shares = storageBuffer(gpu, "kept shares", MOST_SAMPLES * L * H * 4);
  let gathered = gatherKept();
  let sampled: number[] = [];
  let measured: { layer: number; first: number; count: number }[] = [];

  /** Tokens that a layer still holds when a chunk runs that ends behind them, where it should hold all that the model lets it see. */
  function heldTokens(layer: number, maxTokens: number): number {
    const { pinned, ring, window } = cache.layer(layer).retention;
    if (ring === undefined || window >= (spec.layers[layer].window ?? Infinity)) return Infinity;
    return (pinned + ring) * PAGE_TOKENS - maxTokens;
  }

  /** True where every key in front of the query is in the cache when its chunk, which ends at `end`, has been written. */
  function isHeld(layer: number, bands: readonly Band[], position: number, end: number): boolean {
    const { retention } = cache.layer(layer);
    const oldest = oldestKept(Math.ceil(end / PAGE_TOKENS), retention);
    return oldest <= retention.pinned || Math.floor(keysOf(bands, [{ position }])[0] / PAGE_TOKENS) >= oldest;
  }

  return {
    get kept() {
      return gathered.summary();
    },
    begin({ start, tokens, goesOn }, maxTokens) {
      if (!goesOn) gathered = gatherKept();
      const held = spec.layers.map((_, layer) => heldTokens(layer, maxTokens));
      const end = Math.max(start, Math.min(start + tokens, ...held));
      const count = Math.ceil((end - start) / (goesOn ? LATER_STRIDE : STRIDE));
      sampled = spreadPositions(start, end, Math.min(MOST_SAMPLES, count));
      measured = [];
    },
    async measure(source, pattern) {
      const { layer, span, bands } = source;
      const end = span.start + span.tokens;
      // Later queries see later keys: those that are held are the last ones.
      const own = sampled.filter((at) => at >= span.start && at < end && isHeld(layer, bands, at, end));
      if (own.length === 0) return;
      const tokens = own.map((position) => position - span.start);
      const most = scoring.mostSamples(end);
      for (let from = 0; from < own.length; from += most) {
        const first = sampled.indexOf(own[from]);
        const rows = scoring.upload(source, tokens.slice(from, from + most), pattern);
        await scoring.eachPiece(source, rows, (scores, grid) => {
          const outAt = (first * L + layer) * H + grid.firstHead;
          scoring.op.mass(scores, rows, rows.lists[0], grid, { lse, kept: shares, outAt, outStride: L * H });
        });
        measured.push({ layer, first, count: rows.samples });
      }
    },
    async end() {
      if (measured.length === 0) return;
      recorder.submit();
      const values = new Float32Array(await readback.read(shares, 0, sampled.length * L * H * 4));
      for (const { layer, first, count } of measured) {
        for (let sample = first; sample < first + count; sample++) {
          for (let head = 0; head < H; head++) gathered.add(layer, head, Math.min(1, values[(sample * L + layer) * H + head]));
        }
      }
      measured = [];
    },
  };
}
