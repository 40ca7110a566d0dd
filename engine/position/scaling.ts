/**
 * RoPE scaling: from a FrequencyScaling to inverse frequencies and one attention factor, in float64. (Re-indexing: bands.ts.)
 * Sources: Hugging Face modeling_rope_utils (linear, dynamic, yarn, longrope, llama3, proportional), arXiv 2104.09864 (RoPE),
 * 2306.15595 (linear), 2309.00071 (YaRN), 2402.13753 (LongRoPE). NTK-aware scaling has no Hugging Face type: it is a larger base.
 */
import type { DecoderSpec, FrequencyScaling, ModelSpec, Reindexing, RopeScaling, RopeTable } from "../api.ts";
import { EngineError } from "../errors.ts";
import { shown } from "../formats/json.ts";

/** What a scaling is applied to: the model's base frequencies, the length it states, and the one its unscaled weights were trained on. */
export interface RopeBase {
  theta: number;
  rotaryDim: number;
  maxPositionEmbeddings: number;
  trainedLength: number;
}

export type Yarn = Extract<FrequencyScaling, { kind: "yarn" }>;
export type LongRope = Extract<FrequencyScaling, { kind: "longrope" }>;
type Llama3 = Extract<FrequencyScaling, { kind: "llama3" }>;
type Proportional = Extract<FrequencyScaling, { kind: "proportional" }>;

export function ropeBase(spec: DecoderSpec): RopeBase {
  const { ropeTheta: theta, rotaryDim, maxPositionEmbeddings } = spec;
  return { theta, rotaryDim, maxPositionEmbeddings, trainedLength: trainedLength(spec) };
}

/** Tokens the unscaled weights were trained on: the original context of the model's own scaling, else the length it states. */
export function trainedLength(spec: ModelSpec): number {
  if (isRotating(spec) && "originalContext" in spec.rope && spec.rope.originalContext !== undefined) {
    return spec.rope.originalContext;
  }
  return spec.maxPositionEmbeddings;
}

/** True for a transformer whose queries and keys are rotated. */
export function isRotating(spec: ModelSpec): spec is DecoderSpec {
  return spec.kind === "decoder" && spec.rotaryDim > 0;
}

/** The model as one that rotates. Throws `rope-invalid` for ALiBi and recurrent models, which have nothing to scale. */
export function rotating(spec: ModelSpec): DecoderSpec {
  const what = spec.kind === "decoder" ? "knows positions by ALiBi" : "is recurrent";
  if (isRotating(spec)) return spec;
  throw new EngineError("rope-invalid", `${spec.modelType} ${what}: there is no rotation to scale`, "use the setting model");
}

/** True for schemes that move positions instead of changing frequencies. */
export function isReindexing(scaling: RopeScaling): scaling is Reindexing {
  return scaling.kind === "self_extend" || scaling.kind === "rerope" || scaling.kind === "dual_chunk";
}

/** The frequencies a re-indexing is laid over: the model's own, plain ones where the model re-indexes itself. */
export function ownFrequencies(spec: Pick<DecoderSpec, "rope">): FrequencyScaling {
  return isReindexing(spec.rope) ? { kind: "none" } : spec.rope;
}

/**
 * The rotation of a request of `lengthTokens` tokens (prompt and answer). Only `dynamic` and `longrope` depend on the length.
 * Throws `rope-invalid` for a scaling that cannot be applied to this base.
 */
export function ropeTable(scaling: FrequencyScaling, base: RopeBase, lengthTokens: number): RopeTable {
  checkScaling(scaling, base);
  const plain = plainFrequencies(base.theta, base.rotaryDim);
  switch (scaling.kind) {
    case "none":
      return table(plain, 1);
    case "linear":
      return table(
        plain.map((frequency) => frequency / scaling.factor),
        1,
      );
    case "ntk":
      return table(plainFrequencies(stretchedTheta(base, scaling.factor), base.rotaryDim), 1);
    case "dynamic":
      return table(plainFrequencies(stretchedTheta(base, dynamicStretch(scaling.factor, base, lengthTokens)), base.rotaryDim), 1);
    case "yarn":
      return table(yarnFrequencies(plain, scaling, base), yarnAttentionFactor(scaling));
    case "longrope":
      return table(longRopeFrequencies(plain, scaling, lengthTokens), longRopeAttentionFactor(scaling, base));
    case "llama3":
      return table(llama3Frequencies(plain, scaling), 1);
    case "proportional":
      return table(proportionalFrequencies(plain, scaling), 1);
  }
}

/** The rotation of window layers that have their own; undefined where the model has none such. */
export function localTable({ local, maxPositionEmbeddings }: DecoderSpec): RopeTable | undefined {
  if (local === undefined) return undefined;
  const base = { ...local, maxPositionEmbeddings, trainedLength: maxPositionEmbeddings };
  return ropeTable(local.rope, base, maxPositionEmbeddings);
}

/** Throws `rope-invalid` naming the field, unless the scaling makes sense for this base. */
export function checkScaling(scaling: RopeScaling, base: RopeBase): void {
  const { kind } = scaling;
  switch (kind) {
    case "none":
      return;
    case "linear":
      checkFactor(kind, scaling.factor);
      return;
    case "ntk":
    case "dynamic":
      checkFactor(kind, scaling.factor);
      if (base.rotaryDim <= 2) throw invalid(kind, "needs more than 2 rotary dimensions", "use linear or yarn for this model");
      return;
    case "yarn":
      checkFactor(kind, scaling.factor);
      checkContext(kind, scaling.originalContext);
      checkPositive(kind, "beta_fast", scaling.betaFast);
      checkPositive(kind, "beta_slow", scaling.betaSlow);
      checkOptional(kind, "attention_factor", scaling.attentionFactor);
      checkOptional(kind, "mscale", scaling.mscale);
      checkOptional(kind, "mscale_all_dim", scaling.mscaleAllDim);
      checkYarn(scaling, base);
      return;
    case "longrope":
      if (scaling.factor !== undefined) checkFactor(kind, scaling.factor);
      checkContext(kind, scaling.originalContext);
      checkOptional(kind, "attention_factor", scaling.attentionFactor);
      checkDivisors("short_factor", scaling.shortFactor, base.rotaryDim / 2);
      checkDivisors("long_factor", scaling.longFactor, base.rotaryDim / 2);
      if (scaling.originalContext < 2) throw invalid(kind, "needs an original context of at least 2 tokens", CONTEXT_REMEDY);
      return;
    case "llama3":
      checkFactor(kind, scaling.factor);
      checkContext(kind, scaling.originalContext);
      checkPositive(kind, "low_freq_factor", scaling.lowFreqFactor);
      checkPositive(kind, "high_freq_factor", scaling.highFreqFactor);
      if (scaling.highFreqFactor <= scaling.lowFreqFactor) {
        throw invalid(kind, "high_freq_factor must be above low_freq_factor", "use 1 and 4, as Llama 3.1 does");
      }
      return;
    case "proportional":
      checkFactor(kind, scaling.factor);
      if (!(scaling.rotaryShare > 0 && scaling.rotaryShare <= 1)) {
        throw invalid(kind, `partial_rotary_factor must be in (0, 1], found ${shown(scaling.rotaryShare)}`, "1 turns every pair");
      }
      if (Math.trunc((scaling.rotaryShare * base.rotaryDim) / 2) < 1) {
        throw invalid(kind, `partial_rotary_factor ${scaling.rotaryShare} leaves no pair to turn`, "choose a larger share");
      }
      return;
    case "self_extend":
      checkWhole(kind, "group", scaling.group, 1);
      checkWhole(kind, "window", scaling.window, 1);
      if (scaling.logBase !== undefined && !(scaling.logBase > 1)) {
        throw invalid(
          kind,
          `log_base must be above 1, found ${shown(scaling.logBase)}`,
          "leave it out for no scaling of queries",
        );
      }
      return;
    case "rerope":
      checkWhole(kind, "window", scaling.window, 1);
      if (scaling.leak !== undefined && !(Number.isFinite(scaling.leak) && scaling.leak > 1)) {
        throw invalid(kind, `leak must be a number above 1, found ${shown(scaling.leak)}`, "leave it out for no growth at all");
      }
      return;
    case "dual_chunk":
      checkWhole(kind, "chunk_size", scaling.chunkSize, 2);
      checkWhole(kind, "local_size", scaling.localSize, 1);
      if (scaling.localSize >= scaling.chunkSize) {
        throw invalid(kind, "local_size must be below chunk_size", "Qwen2.5-1M uses 8192 of 262144");
      }
      if (scaling.originalContext !== undefined) checkContext(kind, scaling.originalContext);
      return;
  }
}

/** LongRoPE's stretch s: `factor`, else what the model states over what it was trained on. */
export function longRopeStretch(scaling: LongRope, maxPositionEmbeddings: number): number {
  return scaling.factor ?? maxPositionEmbeddings / scaling.originalContext;
}

/** How far YaRN divides each of the rotaryDim / 2 frequencies: 1 for fast pairs up to `factor` for slow ones. */
export function yarnDivisors(scaling: Yarn, base: RopeBase): number[] {
  return Array.from(yarnRamp(scaling, base), (ramp) => 1 / (1 - ramp + ramp / scaling.factor));
}

const CONTEXT_REMEDY = "set original_max_position_embeddings to the length the model was trained on";

function table(invFreq: Float64Array, attentionFactor: number): RopeTable {
  return { invFreq, attentionFactor, key: `${attentionFactor}|${invFreq.join(",")}` };
}

/** theta^(-2i/d) for i = 0 .. d/2 - 1. */
function plainFrequencies(theta: number, rotaryDim: number): Float64Array {
  return Float64Array.from({ length: rotaryDim / 2 }, (_, pair) => theta ** ((-2 * pair) / rotaryDim));
}

/** The base under which the slowest pair turns exactly `stretch` times slower and the fastest is unchanged. */
function stretchedTheta(base: RopeBase, stretch: number): number {
  return base.theta * stretch ** (base.rotaryDim / (base.rotaryDim - 2));
}

/** Hugging Face counts from max_position_embeddings, which is the trained length where a model has no other scaling of its own. */
function dynamicStretch(factor: number, base: RopeBase, lengthTokens: number): number {
  const length = Math.max(lengthTokens, base.trainedLength);
  return (factor * length) / base.trainedLength - (factor - 1);
}

function yarnFrequencies(plain: Float64Array, scaling: Yarn, base: RopeBase): Float64Array {
  const ramp = yarnRamp(scaling, base);
  return plain.map((frequency, pair) => frequency * (1 - ramp[pair]) + (frequency / scaling.factor) * ramp[pair]);
}

/** Per pair: 0 keeps the frequency, 1 divides it by the factor. */
function yarnRamp(scaling: Yarn, base: RopeBase): Float64Array {
  const { low, high } = yarnRange(scaling, base);
  return Float64Array.from({ length: base.rotaryDim / 2 }, (_, pair) => clamp01((pair - low) / (high - low)));
}

/** The pairs between which YaRN blends: those that make betaFast and betaSlow turns in the original context. */
function yarnRange(scaling: Yarn, base: RopeBase): { low: number; high: number } {
  const pairOf = (turns: number): number =>
    (base.rotaryDim * Math.log(scaling.originalContext / (2 * Math.PI * turns))) / (2 * Math.log(base.theta));
  const fast = pairOf(scaling.betaFast);
  const slow = pairOf(scaling.betaSlow);
  const low = Math.max(scaling.truncate ? Math.floor(fast) : fast, 0);
  // The upper clamp is rotaryDim - 1, not the last pair: so in Hugging Face and in the authors' code.
  const high = Math.min(scaling.truncate ? Math.ceil(slow) : slow, base.rotaryDim - 1);
  return { low, high: high === low ? high + 0.001 : high };
}

function yarnAttentionFactor(scaling: Yarn): number {
  if (scaling.attentionFactor !== undefined) return scaling.attentionFactor;
  if (scaling.mscale !== undefined && scaling.mscaleAllDim !== undefined) {
    return temperature(scaling.factor, scaling.mscale) / temperature(scaling.factor, scaling.mscaleAllDim);
  }
  return temperature(scaling.factor, 1);
}

function temperature(factor: number, scale: number): number {
  return factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
}

/** Equality with the original context still takes the short list. */
function longRopeFrequencies(plain: Float64Array, scaling: LongRope, lengthTokens: number): Float64Array {
  const divisors = lengthTokens > scaling.originalContext ? scaling.longFactor : scaling.shortFactor;
  return plain.map((frequency, pair) => frequency / divisors[pair]);
}

function longRopeAttentionFactor(scaling: LongRope, base: RopeBase): number {
  if (scaling.attentionFactor !== undefined) return scaling.attentionFactor;
  const stretch = longRopeStretch(scaling, base.maxPositionEmbeddings);
  return stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(scaling.originalContext));
}

function llama3Frequencies(plain: Float64Array, scaling: Llama3): Float64Array {
  const { factor, originalContext, lowFreqFactor, highFreqFactor } = scaling;
  return plain.map((frequency) => {
    const turns = (originalContext * frequency) / (2 * Math.PI);
    const keep = clamp01((turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor));
    return (1 - keep) * (frequency / factor) + keep * frequency;
  });
}

/** Pairs behind the turning share have frequency 0: they are never rotated. */
function proportionalFrequencies(plain: Float64Array, scaling: Proportional): Float64Array {
  const turning = Math.trunc(scaling.rotaryShare * plain.length);
  return plain.map((frequency, pair) => (pair < turning ? frequency / scaling.factor : 0));
}

function clamp01(value: number): number {
  return Math.min(Math.max(value, 0), 1);
}

function checkYarn(scaling: Yarn, base: RopeBase): void {
  if (scaling.betaFast <= scaling.betaSlow) {
    throw invalid("yarn", "beta_fast must be above beta_slow", "use 32 and 1, the values of the paper");
  }
  if ((scaling.mscale === undefined) !== (scaling.mscaleAllDim === undefined)) {
    throw invalid("yarn", "mscale and mscale_all_dim work only together", "give both, or attention_factor, or neither");
  }
  if (scaling.attentionFactor !== undefined && scaling.mscale !== undefined) {
    throw invalid("yarn", "attention_factor already decides what mscale would", "give attention_factor or mscale, not both");
  }
  const { low, high } = yarnRange(scaling, base);
  if (!(high > low)) {
    const { originalContext } = scaling;
    throw invalid("yarn", `an original context of ${originalContext} tokens leaves no pair to blend`, CONTEXT_REMEDY);
  }
}

function checkFactor(kind: RopeScaling["kind"], factor: number): void {
  if (Number.isFinite(factor) && factor >= 1) return;
  throw invalid(
    kind,
    `factor must be a number of at least 1, found ${shown(factor)}`,
    "factor 2 doubles the context, 4 quadruples it",
  );
}

function checkContext(kind: RopeScaling["kind"], tokens: number): void {
  if (Number.isSafeInteger(tokens) && tokens > 0) return;
  throw invalid(kind, `original_max_position_embeddings must be a positive integer, found ${shown(tokens)}`, CONTEXT_REMEDY);
}

function checkWhole(kind: RopeScaling["kind"], name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw invalid(kind, `${name} must be a whole number of at least ${least}, found ${shown(value)}`, `give ${name} in tokens`);
}

function checkPositive(kind: RopeScaling["kind"], name: string, value: number): void {
  if (Number.isFinite(value) && value > 0) return;
  throw invalid(kind, `${name} must be a number above 0, found ${shown(value)}`, `leave ${name} out for its default`);
}

function checkOptional(kind: RopeScaling["kind"], name: string, value: number | undefined): void {
  if (value !== undefined) checkPositive(kind, name, value);
}

function checkDivisors(name: string, divisors: readonly number[], pairs: number): void {
  if (divisors.length !== pairs) {
    throw invalid(
      "longrope",
      `${name} has ${divisors.length} numbers and needs ${pairs}`,
      "give one number per rotary pair of this model",
    );
  }
  for (const divisor of divisors) checkPositive("longrope", name, divisor);
}

function invalid(kind: RopeScaling["kind"], what: string, remedy: string): EngineError {
  return new EngineError("rope-invalid", `${kind}: ${what}`, remedy, { kind });
}
