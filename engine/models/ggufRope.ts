/** The rotation of a GGUF file as Hugging Face writes it in config.json. */
import type { WeightStore } from "../api.ts";
import type { JsonRecord } from "../formats/json.ts";
import { asWritten, type GgufFields, unsupported } from "./ggufMetadata.ts";

const LLAMA3_DIVISORS = "rope_freqs.weight";
const LONG_FACTORS = "rope_factors_long.weight";
const SHORT_FACTORS = "rope_factors_short.weight";

/** Tensors that say how a model rotates; the forward pass does not read them. */
export const ROPE_TENSORS: readonly string[] = [LLAMA3_DIVISORS, LONG_FACTORS, SHORT_FACTORS];

/**
 * `rope_theta`, `partial_rotary_factor`, `rope_scaling` and, for LongRoPE, `original_max_position_embeddings`. Llama 3's scaling is
 * a tensor of divisors in the file: the keys that make it are found again, else it is written as a LongRoPE of one list.
 * Throws `unsupported-model` for a scaling that Hugging Face's keys do not express.
 */
export async function ropeConfig(
  fields: GgufFields,
  store: WeightStore,
  headDim: number,
  signal: AbortSignal | undefined,
): Promise<JsonRecord> {
  const rotaryDim = fields.count("rope.dimension_count", headDim);
  const theta = fields.number("rope.freq_base", 10000);
  const basics = { rope_theta: theta, ...(rotaryDim === headDim ? {} : { partial_rotary_factor: partial(rotaryDim, headDim) }) };
  if (store.has(LONG_FACTORS) || store.has(SHORT_FACTORS)) return { ...basics, ...(await longRope(fields, store, signal)) };
  if (store.has(LLAMA3_DIVISORS)) {
    const divisors = Array.from(await store.readRows(LLAMA3_DIVISORS, undefined, undefined, signal), asWritten);
    if (divisors.every((divisor) => divisor === 1)) return basics;
    return { ...basics, rope_scaling: llama3(divisors, theta, rotaryDim) ?? oneList(divisors, fields) };
  }
  return { ...basics, ...scaling(fields) };
}

/** Share of the head that gives this many dimensions again when it is multiplied and truncated. */
function partial(rotaryDim: number, headDim: number): number {
  const share = rotaryDim / headDim;
  return Math.trunc(headDim * share) === rotaryDim ? share : (rotaryDim + 0.5) / headDim;
}

/** Phi-3: both lists as tensors. `attn_factor` is left out where it is what Hugging Face computes, so that it keeps all its digits. */
async function longRope(fields: GgufFields, store: WeightStore, signal: AbortSignal | undefined): Promise<JsonRecord> {
  const list = async (name: string): Promise<number[]> =>
    Array.from(await store.readRows(name, undefined, undefined, signal), asWritten);
  const original = fields.count("rope.scaling.original_context_length");
  const stretch = fields.count("context_length") / original;
  const attention = fields.optionalNumber("rope.scaling.attn_factor");
  const usual = stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original));
  const isUsual = attention === undefined || Math.abs(attention / usual - 1) < 1e-6;
  return {
    original_max_position_embeddings: original,
    rope_scaling: {
      rope_type: "longrope",
      short_factor: await list(SHORT_FACTORS),
      long_factor: await list(LONG_FACTORS),
      ...(isUsual ? {} : { attention_factor: attention }),
    },
  };
}

/** The low and high factors of all published models with Llama 3's scaling. */
const [LOW, HIGH] = [1, 4];
const USUAL_CONTEXT = 8192;

/**
 * The keys whose divisors these are. A pair whose divisor d lies between 1 and the factor f has the smoothness s with
 * 1/d = (1 - s)/f + s, and s = (context / wavelength - low) / (high - low) gives the original context.
 */
function llama3(divisors: readonly number[], theta: number, rotaryDim: number): JsonRecord | undefined {
  const factor = divisors.reduce((largest, divisor) => Math.max(largest, divisor), 1);
  const wavelength = (pair: number): number => 2 * Math.PI * theta ** ((2 * pair) / rotaryDim);
  const between = divisors.findIndex((divisor) => divisor > 1.001 && divisor < 0.999 * factor);
  const smoothness = (1 / (divisors[between] ?? 1) - 1 / factor) / (1 - 1 / factor);
  const original = between < 0 ? USUAL_CONTEXT : Math.round((LOW + smoothness * (HIGH - LOW)) * wavelength(between));
  const isMadeBy = divisors.every((divisor, pair) => {
    const smooth = Math.min(1, Math.max(0, (original / wavelength(pair) - LOW) / (HIGH - LOW)));
    // The file's numbers were computed in f32 from f32 frequencies.
    return Math.abs(divisor * ((1 - smooth) / factor + smooth) - 1) < 1e-4;
  });
  if (!isMadeBy || divisors.length !== rotaryDim / 2) return undefined;
  return {
    rope_type: "llama3",
    factor,
    low_freq_factor: LOW,
    high_freq_factor: HIGH,
    original_max_position_embeddings: original,
  };
}

/** Any divisors are a LongRoPE whose lists are equal and whose scores are not scaled. */
function oneList(divisors: readonly number[], fields: GgufFields): JsonRecord {
  return {
    rope_type: "longrope",
    short_factor: divisors,
    long_factor: divisors,
    original_max_position_embeddings: fields.count("context_length"),
    factor: 1,
    attention_factor: 1,
  };
}

function scaling(fields: GgufFields): JsonRecord {
  const factor = fields.optionalNumber("rope.scaling.factor") ?? fields.optionalNumber("rope.scale_linear") ?? 0;
  const type = fields.text("rope.scaling.type", "linear");
  // A factor of 0 is none, as in llama.cpp.
  if (type === "none" || ((type === "linear" || type === "yarn") && (factor === 0 || factor === 1))) return {};
  if (type === "linear") return { rope_scaling: { rope_type: "linear", factor } };
  if (type === "yarn") return { rope_scaling: yarn(fields, factor) };
  throw unsupported(fields.file, `the RoPE scaling "${type}" without its factors is not supported`);
}

/**
 * Attention factors: 1 is what files say whose config.json has an `attn_factor` of 1, which Hugging Face ignores; another number is
 * its `attention_factor`. `yarn_log_multiplier` is `mscale_all_dim` beside an `mscale` of 1.
 */
function yarn(fields: GgufFields, factor: number): JsonRecord {
  if (fields.number("rope.scaling.yarn_ext_factor", 1) !== 1) {
    throw unsupported(fields.file, "a YaRN extrapolation factor other than 1 is not supported");
  }
  const attention = fields.number("rope.scaling.yarn_attn_factor", 1);
  const logMultiplier = fields.number("rope.scaling.yarn_log_multiplier", 0);
  const optional = {
    beta_fast: fields.optionalNumber("rope.scaling.yarn_beta_fast"),
    beta_slow: fields.optionalNumber("rope.scaling.yarn_beta_slow"),
    attention_factor: attention === 1 ? undefined : attention,
    mscale: logMultiplier === 0 ? undefined : 1,
    mscale_all_dim: logMultiplier === 0 ? undefined : logMultiplier,
  };
  return {
    rope_type: "yarn",
    factor,
    original_max_position_embeddings: fields.count("rope.scaling.original_context_length", fields.count("context_length")),
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
  };
}
