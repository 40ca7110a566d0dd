import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { parseSpec, supportedModelTypes } from "../../../engine/models/spec.ts";
import { tensorShapes } from "../../../engine/models/weights.ts";
import { goldenConfig } from "../../support/goldenModels.ts";

const mamba = { model_type: "mamba", vocab_size: 50280, hidden_size: 768, num_hidden_layers: 24 };
const mamba2 = { model_type: "mamba2", vocab_size: 50288, hidden_size: 768, num_hidden_layers: 24, num_heads: 24, n_groups: 1 };
const rwkv7 = {
  model_type: "rwkv7",
  vocab_size: 65536,
  hidden_size: 1024,
  num_hidden_layers: 24,
  head_dim: 64,
  num_heads: null,
  intermediate_size: 4096,
  decay_low_rank_dim: 64,
  gate_low_rank_dim: 128,
  a_low_rank_dim: 64,
  v_low_rank_dim: 32,
  value_dim: Array.from({ length: 24 }, () => 1024),
  norm_first: true,
  norm_bias: true,
  norm_eps: 1e-5,
  hidden_act: "sqrelu",
  attn: null,
};

describe("Mamba's config.json", () => {
  it("gives what the 130m checkpoint is", () => {
    const spec = parseSpec(mamba);
    assert.equal(spec.kind, "mamba");
    has(spec, {
      innerSize: 1536,
      stateSize: 16,
      convKernel: 4,
      timeStepRank: 48,
      projectionBias: false,
      convBias: true,
      normEps: 1e-5,
      tiedEmbeddings: true,
      maxPositionEmbeddings: 2048,
    });
    assert.equal(tensorShapes(spec).get("backbone.layers.23.mixer.x_proj.weight")?.join(), "80,1536");
  });

  it("rounds the rank auto up, and takes a stated one", () => {
    const rank = (fields: object): unknown => {
      const spec = parseSpec({ ...mamba, ...fields });
      return spec.kind === "mamba" ? spec.timeStepRank : undefined;
    };
    assert.equal(rank({ hidden_size: 40, time_step_rank: "auto" }), 3);
    assert.equal(rank({ time_step_rank: 5 }), 5);
    refuses({ ...mamba, time_step_rank: "automatic" }, /time_step_rank/);
  });

  it("every field changes what is read", () => {
    for (const change of [
      { state_size: 8 },
      { conv_kernel: 3 },
      { expand: 1 },
      { use_bias: true },
      { use_conv_bias: false },
      { time_step_rank: 7 },
      { tie_word_embeddings: false },
      { num_hidden_layers: 2 },
    ]) {
      const shapes = (config: object): unknown => [...tensorShapes(parseSpec(config))];
      assert.notDeepEqual(shapes({ ...mamba, ...change }), shapes(mamba), JSON.stringify(change));
    }
    assert.equal(parseSpec({ ...mamba, layer_norm_epsilon: 0.1 }).normEps, 0.1);
    assert.equal(parseSpec({ ...mamba, max_position_embeddings: 512 }).maxPositionEmbeddings, 512);
  });

  it("refuses what would give other numbers", () => {
    refuses({ ...mamba, hidden_act: "gelu" }, /hidden_act/);
    refuses({ ...mamba, intermediate_size: 1000 }, /intermediate_size 1000 is not expand times hidden_size/);
    refuses({ ...mamba, expand: 0 }, /expand/);
    refuses({ ...mamba, state_size: -1 }, /state_size/);
  });
});

describe("Mamba-2's config.json", () => {
  const limit = (value: unknown): unknown => {
    const spec = parseSpec({ ...mamba2, time_step_limit: value });
    return spec.kind === "mamba2" ? spec.timeStepLimit : undefined;
  };

  it("gives what the 130m checkpoint is", () => {
    has(parseSpec(mamba2), {
      kind: "mamba2",
      headCount: 24,
      headDim: 64,
      groupCount: 1,
      normGroupCount: 1,
      stateSize: 128,
      convKernel: 4,
      chunkSize: 256,
      timeStepLimit: [0, Infinity],
      tiedEmbeddings: false,
    });
    assert.equal(tensorShapes(parseSpec(mamba2)).get("backbone.layers.0.mixer.in_proj.weight")?.join(), "3352,768");
  });

  it("reads an infinite limit in each of its spellings", () => {
    for (const value of [null, [0, Infinity], [0, "Infinity"], [0, { __float__: "Infinity" }]]) {
      assert.deepEqual(limit(value), [0, Infinity]);
    }
    assert.deepEqual(limit([0.3, 0.5]), [0.3, 0.5]);
    for (const value of [[0], [1, 0.5], [-1, 1], [0, "NaN"], "0", [Infinity, Infinity], [0, 1, 2]]) {
      refuses({ ...mamba2, time_step_limit: value }, /time_step_limit/);
    }
  });

  it("norms each group where transformers saved the config, and the whole width where nobody says who did", () => {
    const groups = (fields: object): unknown => {
      const spec = parseSpec({ ...mamba2, n_groups: 8, ...fields });
      return spec.kind === "mamba2" ? [spec.groupCount, spec.normGroupCount] : undefined;
    };
    assert.deepEqual(groups({}), [8, 1]);
    assert.deepEqual(groups({ architectures: ["Mamba2ForCausalLM"] }), [8, 8]);
    assert.deepEqual(groups({ transformers_version: "4.44.0" }), [8, 8]);
  });

  it("refuses heads that do not fit", () => {
    refuses({ ...mamba2, head_dim: 32 }, /num_heads 24 of head_dim 32/);
    refuses({ ...mamba2, n_groups: 5 }, /n_groups 5/);
  });
});

describe("the original Mamba configs", () => {
  const original = {
    d_model: 768,
    n_layer: 24,
    vocab_size: 50277,
    ssm_cfg: {},
    rms_norm: true,
    residual_in_fp32: true,
    fused_add_norm: true,
    pad_vocab_size_multiple: 8,
  };

  it("are Mamba with the vocabulary filled up", () => {
    const spec = parseSpec(original);
    has(spec, { kind: "mamba", vocabSize: 50280, innerSize: 1536, timeStepRank: 48, tiedEmbeddings: true });
    assert.deepEqual(spec.eosTokenIds, [0]);
    assert.equal(parseSpec({ ...original, pad_vocab_size_multiple: 16 }).vocabSize, 50288);
    assert.equal(parseSpec({ ...original, tie_embeddings: false }).tiedEmbeddings, false);
    const changed = parseSpec({
      ...original,
      ssm_cfg: { d_state: 8, d_conv: 3, expand: 1, dt_rank: 4, bias: true, conv_bias: false },
    });
    has(changed, {
      ...{ stateSize: 8, convKernel: 3, innerSize: 768, timeStepRank: 4, projectionBias: true, convBias: false },
    });
  });

  it("are Mamba-2 where the layer says so", () => {
    const config = { ...original, d_intermediate: 0, attn_layer_idx: [], attn_cfg: {}, ssm_cfg: { layer: "Mamba2" } };
    has(parseSpec(config), {
      ...{ kind: "mamba2", headCount: 24, headDim: 64, groupCount: 1, stateSize: 128, chunkSize: 256 },
    });
    const grouped = { ...config, ssm_cfg: { layer: "Mamba2", ngroups: 8, headdim: 32, dt_limit: [0.1, 2] } };
    has(parseSpec(grouped), {
      ...{ headCount: 48, headDim: 32, groupCount: 8, normGroupCount: 8, timeStepLimit: [0.1, 2] },
    });
  });

  it("are refused where they have attention, an MLP or another norm", () => {
    refuses({ ...original, attn_layer_idx: [3] }, /attn_layer_idx/);
    refuses({ ...original, d_intermediate: 512 }, /d_intermediate/);
    refuses({ ...original, rms_norm: false }, /rms_norm/);
    refuses({ ...original, ssm_cfg: { layer: "Mamba3" } }, /Mamba3/);
    refuses({ ...original, ssm_cfg: { layer: "Mamba2", D_has_hdim: true } }, /D_has_hdim/);
  });
});

describe("RWKV-7's config.json", () => {
  it("gives what the 0.4B checkpoint is, with num_heads null and a width per layer", () => {
    has(parseSpec(rwkv7), {
      kind: "rwkv7",
      headCount: 16,
      headDim: 64,
      intermediateSize: 4096,
      decayRank: 64,
      gateRank: 128,
      aRank: 64,
      vRank: 32,
      maxPositionEmbeddings: 4096,
      tiedEmbeddings: false,
    });
  });

  it("finds the head from the number of heads, and the width of the MLP from its ratio", () => {
    has(parseSpec({ ...rwkv7, head_dim: null, num_heads: 8 }), { headDim: 128, headCount: 8 });
    has(parseSpec({ ...rwkv7, intermediate_size: null, hidden_ratio: 3.5 }), { intermediateSize: 3584 });
    refuses({ ...rwkv7, head_dim: 60 }, /heads of 60/);
  });

  it("refuses what would give other numbers", () => {
    refuses({ ...rwkv7, value_dim: [2048, ...rwkv7.value_dim.slice(1)] }, /value_dim/);
    refuses({ ...rwkv7, value_dim: 2048 }, /value_dim/);
    refuses({ ...rwkv7, norm_bias: false }, /norm_bias/);
    refuses({ ...rwkv7, norm_first: false }, /norm_first/);
    refuses({ ...rwkv7, hidden_act: "gelu" }, /hidden_act/);
    refuses({ ...rwkv7, attn: { layers: [1] } }, /attn/);
  });
});

describe("the golden recurrent models", () => {
  it("are read as their configs say", () => {
    has(parseSpec(goldenConfig("mamba")), { innerSize: 32, stateSize: 4, timeStepRank: 2 });
    has(parseSpec(goldenConfig("mamba2")), { groupCount: 2, normGroupCount: 1, chunkSize: 5 });
    has(parseSpec(goldenConfig("rwkv7")), { headCount: 2, gateRank: 5, vRank: 3 });
  });

  it("are among the supported types", () => {
    for (const type of ["mamba", "mamba2", "rwkv7"]) assert.ok(supportedModelTypes.includes(type));
  });
});

/** The spec has these fields among others. */
function has(spec: object, fields: object): void {
  const found = Object.entries(spec).filter(([key]) => key in fields);
  assert.deepEqual(Object.fromEntries(found), fields);
}

function refuses(config: object, message: RegExp): void {
  assert.throws(
    () => parseSpec(config),
    (error) => EngineError.is(error, "unsupported-model") && message.test(error.message) && error.remedy !== "",
  );
}
