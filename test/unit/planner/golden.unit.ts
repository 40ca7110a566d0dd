/** Parameter counts, cache and state bytes, tokens that fit and operations of published models, from memory_planner.json. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { DecoderSpec, ModelSpec } from "../../../engine/api.ts";
import type { KvFormat } from "../../../engine/attention/api.ts";
import { WHOLE } from "../../../engine/attention/wholeOnly.ts";
import { tokenBytes } from "../../../engine/kv-cache/capacity.ts";
import { parseSpec } from "../../../engine/models/spec.ts";
import { parameterCount } from "../../../engine/models/weights.ts";
import { contextBytes, largestContext } from "../../../engine/planner/contextBytes.ts";
import { weightsByBits } from "../../../engine/planner/weightBytes.ts";
import { prefillWork } from "../../../engine/planner/work.ts";

/** Cells of the three cache formats of the file. */
type ByFormat<Value> = Record<"fp16" | "int8(q8_0)" | "int4(q4_0)", Value>;
type ByBudget = Record<`${4 | 8 | 16 | 24}GiB`, ByFormat<number | "unbounded">>;

interface Row {
  name: string;
  kind: string;
  head_dim: number;
  num_key_value_heads: number;
  num_hidden_layers: number;
  window?: number;
  parameters: number;
  weight_bytes: Record<"bf16" | "8.5bpw" | "4.5bpw", number>;
  kv_bytes_per_token_full_cache: ByFormat<number>;
  kv_bytes_marginal_beyond_window_fp16?: number;
  kv_bytes_constant_part_fp16?: number;
  kv_gib_at_131072_fp16: number;
  fit_kv_only: ByBudget;
  "fit_with_4.5bpw_weights_and_0.5GiB_workspace": ByBudget;
  prefill_flops: Record<string, { linear: number; attention_causal: number }>;
}

interface RecurrentRow {
  name: string;
  hidden_size: number;
  num_hidden_layers: number;
  conv_kernel?: number;
  expand?: number;
  state_size?: number;
  parameters: number;
  state_bytes_fp32: number;
}

const golden = JSON.parse(readFileSync("test/golden/memory_planner.json", "utf8")) as {
  GiB: number;
  kv_element_bytes: ByFormat<number>;
  models: Row[];
  recurrent: RecurrentRow[];
};

const formats: Readonly<ByFormat<KvFormat>> = { fp16: "f16", "int8(q8_0)": "q8", "int4(q4_0)": "q4" };
const cells = Object.entries(formats) as [keyof ByFormat<KvFormat>, KvFormat][];

/** The rows have Hugging Face's keys but for windows, whose rule follows from the family. */
function decoderOf(row: Row): DecoderSpec {
  const { kind, window, ...fields } = row;
  const modelType = kind === "gemma3" ? "gemma3_text" : kind;
  const windows = window === undefined ? { sliding_window: null } : { sliding_window: window };
  const spec = parseSpec({ ...fields, model_type: modelType, ...windows });
  assert.ok(spec.kind === "decoder");
  return spec;
}

describe("published transformers", () => {
  for (const row of golden.models) {
    const spec = decoderOf(row);
    const bytesAt = (format: KvFormat, tokens: number): number =>
      contextBytes(spec, { tokens, attention: WHOLE, kv: { keys: format, values: format }, copies: 1 }).bytes;
    const perToken = (format: KvFormat): number => tokenBytes(spec, { keys: format, values: format });

    it(`${row.name}: parameters and weight bytes`, () => {
      assert.equal(parameterCount(spec), row.parameters);
      assert.equal(weightsByBits(spec, 16).bytes, row.weight_bytes.bf16);
      assert.equal(weightsByBits(spec, 8.5).bytes, row.weight_bytes["8.5bpw"]);
      assert.equal(weightsByBits(spec, 4.5).bytes, row.weight_bytes["4.5bpw"]);
    });

    it(`${row.name}: bytes of keys and values`, () => {
      for (const [cell, format] of cells) {
        // Our scales begin at words, which pads two bytes where a head has an odd number of groups of 32 channels.
        const padding = format === "f16" || row.head_dim % 64 === 0 ? 0 : 2 * 2 * row.num_key_value_heads;
        assert.equal(spec.layerCount * (perToken(format) - padding), row.kv_bytes_per_token_full_cache[cell], cell);
      }
      assert.equal(bytesAt("f16", 131_072), row.kv_gib_at_131072_fp16 * golden.GiB);
      if (row.kv_bytes_marginal_beyond_window_fp16 !== undefined) {
        const marginal = bytesAt("f16", 200_001) - bytesAt("f16", 200_000);
        assert.equal(marginal, row.kv_bytes_marginal_beyond_window_fp16);
        assert.equal(bytesAt("f16", 200_000) - 200_000 * marginal, row.kv_bytes_constant_part_fp16);
      }
    });

    it(`${row.name}: tokens that fit`, () => {
      const weights = weightsByBits(spec, 4.5).bytes + golden.GiB / 2;
      for (const budget of [4, 8, 16, 24] as const) {
        for (const [cell, format] of cells) {
          const ideal = 2 * row.num_key_value_heads * row.head_dim * golden.kv_element_bytes[cell];
          const unpadded = (tokens: number): number => (bytesAt(format, tokens) / perToken(format)) * ideal;
          const most = (bytes: number): number | "unbounded" => {
            const found = largestContext((tokens) => unpadded(tokens) <= bytes);
            return found === Infinity ? "unbounded" : found;
          };
          const bytes = budget * golden.GiB;
          assert.equal(most(bytes), row.fit_kv_only[`${budget}GiB`][cell], `${budget} GiB, ${cell}`);
          assert.equal(most(bytes - weights), row["fit_with_4.5bpw_weights_and_0.5GiB_workspace"][`${budget}GiB`][cell]);
        }
      }
    });

    it(`${row.name}: operations of a prompt`, () => {
      for (const [tokens, expected] of Object.entries(row.prefill_flops)) {
        const { linearFlops, attentionFlops, recurrenceFlops } = prefillWork(spec, Number(tokens), WHOLE.policy);
        assert.equal(linearFlops, expected.linear);
        assert.equal(attentionFlops, expected.attention_causal);
        assert.equal(recurrenceFlops, 0);
      }
    });
  }
});

describe("published recurrent models", () => {
  for (const row of golden.recurrent) {
    const spec = recurrentOf(row);
    it(`${row.name}: parameters, and a state that does not grow`, () => {
      assert.equal(parameterCount(spec), row.parameters);
      const bytes = (tokens: number): number =>
        contextBytes(spec, { tokens, attention: WHOLE, kv: { keys: "f32", values: "f32" }, copies: 1 }).bytes;
      // The file keeps one more tap of the convolution than a state needs; the engine keeps the last token's final state beside it.
      const tap = spec.kind === "rwkv7" ? 0 : 4 * row.num_hidden_layers * convolved(row);
      assert.equal(bytes(1) + tap - 4 * row.hidden_size, row.state_bytes_fp32);
      assert.equal(bytes(1_000_000), bytes(1));
    });
  }
});

function recurrentOf(row: RecurrentRow): ModelSpec {
  const kind = row.name.startsWith("mamba2") ? "mamba2" : row.name.startsWith("mamba") ? "mamba" : "rwkv7";
  const tied = kind !== "rwkv7";
  return parseSpec({ ...row, model_type: kind, tie_word_embeddings: tied });
}

/** Channels that the convolution of Mamba and Mamba-2 goes over. */
function convolved({ name, hidden_size: width, expand = 2, state_size: states = 0 }: RecurrentRow): number {
  return expand * width + (name.startsWith("mamba2") ? 2 * states : 0);
}
