/**
 * Layers of a transformer whose queries do not see every key: chooses keys by content where the policy does, remembers what each token saw,
 * and measures what that keeps of the exact attention. Kernels for it are compiled when such a policy is first used.
 */
import type { PositionPlan } from "../../api.ts";
import type { AttentionChoice, KeptMass, Pattern } from "../../attention/api.ts";
import { openKeptMass, shownBy, type KeptMassMeter } from "../../attention/sparse/keptMass.ts";
import { chosenTogether, isByContent, openOnlineChoice, type OnlineChoice } from "../../attention/sparse/online.ts";
import { openScoring, type LayerOfChunk, type Scoring, type ScoringParts } from "../../attention/sparse/scoring.ts";
import { openSeenPatterns, type SeenFrom } from "../../attention/sparse/seen.ts";
import type { Readback } from "../../gpu/buffers.ts";
import type { Span } from "../../kernels/attentionOps.ts";
import { finishLayer, projectLayer, runLayer, type GpuDecoder } from "../../models/decoder.ts";
import { layerBands } from "../../position/bands.ts";

/** A prompt, a part of it, or one decoded token. */
export interface AppendedTokens {
  start: number;
  tokens: number;
  isDecoded: boolean;
  /** It goes on with the prompt of the last call. */
  goesOn: boolean;
}

export interface SparseLayers {
  /** Of the last prompt; undefined where it saw every key. */
  readonly keptMass: KeptMass | undefined;
  /** Layers of which nobody knows any more what their queries saw, and why. */
  readonly forgotten: { layers: ReadonlySet<number>; because: string };
  /** What the cached tokens of a layer saw, rising. */
  seen(layer: number): readonly SeenFrom[];
  /** Called before tokens are appended, under `plan` as it is before the policy changes it. */
  begin(choice: AttentionChoice, plan: PositionPlan, append: AppendedTokens): Promise<void>;
  /** Tokens of the chunk behind `length` at most, where the policy decides that. */
  room(length: number): number | undefined;
  /** Runs one layer of a chunk for which `pattern` was written. */
  run(layer: number, span: Span, pattern: Pattern | undefined): Promise<void>;
  /** Called when everything is appended. */
  end(): Promise<void>;
  /** Forgets tokens from `length` on. */
  cut(length: number): void;
}

export function openSparseLayers(
  decoder: GpuDecoder,
  parts: Omit<ScoringParts, "spec" | "cache"> & { readback: Readback },
): SparseLayers {
  const { spec, positions, tap, cache } = decoder;
  const scoringParts = { ...parts, spec, cache };
  const seen = openSeenPatterns(spec.headCount);
  let opened: { scoring: Scoring; meter: KeptMassMeter } | undefined;
  let online: OnlineChoice | undefined;
  let choice: AttentionChoice = { policy: { kind: "flash" } };
  let plan: PositionPlan | undefined;
  let isDecoded = false;
  /** The policy leaves keys out, of a prompt at least. */
  let isSparse = false;

  function sourceOf(layer: number, span: Span): LayerOfChunk {
    if (plan === undefined) throw new RangeError("layers ran before anything was appended");
    return {
      ...{ layer, span, positions: positions.layer(layer), bands: layerBands(plan, spec.layers[layer]) },
      rows: { qkv: decoder.acts.qkv, rotated: decoder.attention.rotated },
    };
  }

  /** A layer whose queries see what its own last ones look at. */
  async function runChosen(layer: number, span: Span): Promise<Pattern | undefined> {
    const { policy } = choice;
    if (online === undefined || !isByContent(policy)) return undefined;
    projectLayer(decoder, layer, span);
    const pattern = await online.choose(policy, sourceOf(layer, span));
    // Lists of the layer before are overwritten, and what reads them may only be recorded.
    parts.recorder.submit();
    finishLayer(decoder, layer, span, positions.writeOwn(layer, span.start, span.tokens, pattern));
    return pattern;
  }

  return {
    get keptMass() {
      return isSparse ? opened?.meter.kept : undefined;
    },
    forgotten: { layers: seen.forgotten, because: seen.because },
    seen: (layer) => (isSparse ? seen.of(layer) : [{ start: 0, pattern: undefined }]),
    async begin(next, asked, append) {
      choice = next;
      plan = asked;
      ({ isDecoded } = append);
      isSparse = isByContent(choice.policy) || shownBy(choice.policy) !== undefined;
      if (!isSparse || isDecoded) return;
      if (opened === undefined) {
        const scoring = await openScoring(scoringParts);
        opened = { scoring, meter: openKeptMass(scoringParts, scoring) };
      }
      if (isByContent(choice.policy)) online ??= await openOnlineChoice(scoringParts, opened.scoring);
      opened.meter.begin(append, decoder.acts.maxTokens);
    },
    room: (length) => (isByContent(choice.policy) && !isDecoded ? chosenTogether(length) : undefined),
    async run(layer, span, pattern) {
      const chosen = isDecoded ? undefined : await runChosen(layer, span);
      if (chosen === undefined) runLayer(decoder, layer, span);
      if (!isSparse) return;
      const shown = chosen ?? pattern;
      if (tap.layers.includes(layer)) seen.add(layer, span.start, span.start + span.tokens, shown);
      const measured = chosen ?? shownBy(choice.policy);
      if (!isDecoded && measured !== undefined) await opened?.meter.measure(sourceOf(layer, span), measured);
    },
    async end() {
      if (isSparse && !isDecoded) await opened?.meter.end();
    },
    cut: (length) => seen.cut(length),
  };
}
