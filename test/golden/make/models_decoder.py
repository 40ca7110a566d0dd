"""The decoder families: config.json of every tiny model, with the prompts to run and the config fields that must matter.

`matters` lists changes of the config; the generator refuses to store a model whose logits such a change would leave as they are, since
a test on it would not notice an engine that ignores the field.
"""

SHORT, USUAL, LONG = (1, 2, 5), (17,), (17, 40)
ALL = SHORT + LONG


def decoder(model_type, architecture, **fields):
    base = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": 49,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 128,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return {key: value for key, value in {**base, **fields}.items() if value is not ...}


def llama(**fields):
    return decoder("llama", "LlamaForCausalLM", **{"hidden_act": "silu", "rms_norm_eps": 1e-5, **fields})


def qwen2(**fields):
    return decoder("qwen2", "Qwen2ForCausalLM", **{"hidden_act": "silu", "rope_theta": 1000000.0, **fields})


def qwen3(**fields):
    return decoder("qwen3", "Qwen3ForCausalLM", **{"hidden_act": "silu", "head_dim": 16, "rope_theta": 1000000, **fields})


def mistral(**fields):
    return decoder("mistral", "MistralForCausalLM", **{"hidden_act": "silu", "rms_norm_eps": 1e-5, "sliding_window": None, **fields})


def ministral3(**fields):
    return decoder("ministral3", "Ministral3ForCausalLM", **{"hidden_act": "silu", "rms_norm_eps": 1e-5, "head_dim": 16, **fields})


def smollm3(**fields):
    base = {"hidden_act": "silu", "num_hidden_layers": 4, "tie_word_embeddings": True, "rope_theta": 5000000.0, "pad_token_id": 3}
    return decoder("smollm3", "SmolLM3ForCausalLM", **{**base, **fields})


def phi3(**fields):
    base = {"hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "pad_token_id": 3, "hidden_size": 64}
    return decoder("phi3", "Phi3ForCausalLM", **{**base, **fields})


def gemma2(**fields):
    base = {
        "hidden_act": ...,
        "hidden_activation": "gelu_pytorch_tanh",
        "head_dim": 16,
        "query_pre_attn_scalar": 24,
        "sliding_window": 4,
        "attn_logit_softcapping": 3.0,
        "final_logit_softcapping": 2.0,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
    }
    return decoder("gemma2", "Gemma2ForCausalLM", **{**base, **fields})


def gemma3(**fields):
    base = {
        "hidden_activation": "gelu_pytorch_tanh",
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 4,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "num_key_value_heads": 1,
    }
    return decoder("gemma3_text", "Gemma3ForCausalLM", **{**base, **fields})


def model(name, config, lengths=USUAL, matters=(), **more):
    return {"name": name, "config": config, "lengths": lengths, "matters": list(matters), **more}


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 32}
SHORT_FACTORS = [1.0, 1.05, 1.1, 1.25, 1.4, 1.6, 1.8, 2.0]
LONG_FACTORS = [1.05, 1.3, 1.9, 2.6, 3.4, 4.5, 6.0, 8.0]


def without(rope, key):
    return {name: value for name, value in rope.items() if name != key}


def llama_models():
    plain = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    wide = {"head_dim": 32, "max_position_embeddings": 128}
    yarn_mscale = {**YARN, "mscale": 0.7, "mscale_all_dim": 0.3}
    yarn_exact = {**YARN, "beta_fast": 4.0, "beta_slow": 0.5, "truncate": False}
    longrope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 17,
        "short_factor": SHORT_FACTORS,
        "long_factor": LONG_FACTORS,
    }
    proportional = {"rope_type": "proportional", "rope_theta": 100.0, "partial_rotary_factor": 0.5, "factor": 2.0}
    return [
        # Llama 2: as many key as query heads, no rope fields at all.
        model("llama_2", llama(num_key_value_heads=4), ALL, [{"rms_norm_eps": 0.1}]),
        # Llama 3.1: rope_scaling and rope_theta in the keys of transformers 4, a list of end tokens.
        model(
            "llama_3",
            llama(
                hidden_size=64, num_attention_heads=8, vocab_size=101, eos_token_id=[2, 7, 9], rope_theta=500.0, rope_scaling=LLAMA3
            ),
            ALL,
            [{"rope_scaling": None}, {"rope_theta": 10000.0}, {"rope_scaling": {**LLAMA3, "high_freq_factor": 8.0}}],
        ),
        # SmolLM2-135M: nine query heads on three key heads, tied.
        model(
            "llama_smollm2",
            llama(
                hidden_size=72,
                intermediate_size=80,
                num_hidden_layers=3,
                num_attention_heads=9,
                num_key_value_heads=3,
                tie_word_embeddings=True,
                rope_theta=100000,
                rope_scaling=None,
                rope_interleaved=False,
            ),
            LONG,
        ),
        model("llama_mqa", llama(num_key_value_heads=1, vocab_size=7, **plain), (2, 17)),
        # No num_key_value_heads: as many as query heads.
        model("llama_kv_absent", llama(num_key_value_heads=..., **plain)),
        model("llama_biases", llama(attention_bias=True, mlp_bias=True, **plain), (5, 17)),
        model("llama_tied_bias", llama(attention_bias=True, tie_word_embeddings=True, vocab_size=101, **plain)),
        model("llama_head_64", llama(head_dim=64, num_attention_heads=2, num_key_value_heads=1, **plain)),
        model("llama_head_80", llama(head_dim=80, num_attention_heads=2, num_key_value_heads=2, **plain)),
        model("llama_head_96", llama(head_dim=96, num_attention_heads=4, num_key_value_heads=1, num_hidden_layers=1, **plain), LONG),
        model("llama_head_128", llama(head_dim=128, num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=1, **plain), LONG),
        model("llama_head_256", llama(head_dim=256, num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=1, **plain), LONG),
        model(
            "llama_linear",
            llama(rope_theta=10000.0, rope_scaling={"type": "linear", "factor": 4.0}),
            LONG,
            [{"rope_scaling": None}, {"rope_scaling": {"type": "linear", "factor": 2.0}}],
        ),
        # Within the trained length nothing changes; beyond it every length has a base of its own.
        model(
            "llama_dynamic",
            llama(max_position_embeddings=16, head_dim=16, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}),
            (5, 15, 17, 40),
            [{"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}],
            cached_equal=False,
        ),
        model(
            "llama_yarn",
            llama(rope_parameters=YARN, **wide),
            (1, 17, 40),
            [
                {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
                {"rope_parameters": {**YARN, "beta_fast": 2.0}},
                {"rope_parameters": {**YARN, "attention_factor": 1.0}},
            ],
        ),
        model(
            "llama_yarn_mscale",
            llama(rope_parameters=yarn_mscale, **wide),
            USUAL,
            [{"rope_parameters": without(yarn_mscale, "mscale")}, {"rope_parameters": {**yarn_mscale, "mscale_all_dim": 0.5}}],
        ),
        model(
            "llama_yarn_attention_factor",
            llama(rope_theta=100.0, rope_scaling={**without(YARN, "rope_theta"), "attention_factor": 1.4}, **wide),
            USUAL,
            [{"rope_scaling": without(YARN, "rope_theta")}],
        ),
        model(
            "llama_yarn_no_truncate",
            llama(rope_parameters=yarn_exact, **wide),
            USUAL,
            [{"rope_parameters": without(yarn_exact, "truncate")}, {"rope_parameters": without(yarn_exact, "beta_slow")}],
        ),
        # The length of the whole request chooses the list: 17 tokens stay short, 18 are long.
        model(
            "llama_longrope",
            llama(rope_parameters=longrope, head_dim=16),
            (5, 17, 18, 40),
            [
                {"rope_parameters": {**longrope, "short_factor": [1.0] * 8, "long_factor": [1.0] * 8}},
                {"rope_parameters": {**longrope, "attention_factor": 1.0}},
            ],
            cached_equal=False,
        ),
        model(
            "llama_proportional",
            llama(rope_parameters=proportional, head_dim=16),
            LONG,
            [{"rope_parameters": {**proportional, "partial_rotary_factor": 1.0}}, {"rope_parameters": {**proportional, "factor": 1.0}}],
        ),
    ]


def qwen2_models():
    sliding = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1, "num_hidden_layers": 3}
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    return [
        # Qwen2.5-0.5B: seven query heads on each key head, tied; a sliding_window that is not used.
        model(
            "qwen2",
            qwen2(
                hidden_size=56,
                num_attention_heads=7,
                num_key_value_heads=1,
                tie_word_embeddings=True,
                use_sliding_window=False,
                sliding_window=4,
                max_window_layers=1,
                vocab_size=101,
            ),
            ALL,
        ),
        model("qwen2_untied", qwen2(), LONG),
        model(
            "qwen2_window",
            qwen2(**sliding),
            LONG,
            [{"use_sliding_window": False}, {"max_window_layers": 0}, {"max_window_layers": 2}, {"sliding_window": 5}],
        ),
        model("qwen2_yarn", qwen2(rope_theta=10000.0, rope_scaling=yarn), LONG, [{"rope_scaling": None}]),
    ]


def qwen3_models():
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    return [
        model("qwen3", qwen3(tie_word_embeddings=True, attention_bias=False, use_sliding_window=False, sliding_window=None), ALL),
        model("qwen3_untied", qwen3(num_attention_heads=6, num_key_value_heads=2, hidden_size=48), LONG),
        model("qwen3_bias", qwen3(attention_bias=True), USUAL),
        model("qwen3_head_128", qwen3(head_dim=128, num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=1), USUAL),
        model(
            "qwen3_window",
            qwen3(use_sliding_window=True, sliding_window=3, max_window_layers=1, num_hidden_layers=3),
            LONG,
            [{"use_sliding_window": False}, {"sliding_window": 4}],
        ),
        model("qwen3_yarn", qwen3(rope_theta=10000, rope_scaling=yarn), LONG, [{"rope_scaling": None}]),
    ]


def mistral_models():
    temperature = {
        "rope_type": "yarn",
        "rope_theta": 1000000.0,
        "factor": 16.0,
        "original_max_position_embeddings": 8,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "llama_4_scaling_beta": 0.3,
    }
    return [
        model("mistral", mistral(), LONG),
        model("mistral_window", mistral(sliding_window=3), ALL, [{"sliding_window": None}, {"sliding_window": 4}]),
        # Every token sees itself alone. The sliding cache of transformers keeps window - 1 keys by slicing [-(window - 1):], which for a
        # window of 1 keeps them all; the recomputation is right.
        model("mistral_window_1", mistral(sliding_window=1), USUAL, [{"sliding_window": 2}], cache_bug=True),
        model("mistral_window_wide", mistral(sliding_window=64, hidden_size=24, num_attention_heads=3, num_key_value_heads=1), LONG),
        # Mistral Nemo: head_dim is not hidden_size / heads.
        model("mistral_nemo", mistral(head_dim=24, num_attention_heads=4, rope_theta=1000000.0, vocab_size=101), LONG),
        model(
            "ministral3",
            ministral3(rope_parameters=temperature),
            (5, 17, 40),
            [{"rope_parameters": {**temperature, "llama_4_scaling_beta": 0.0}}, {"rope_parameters": {**temperature, "mscale": 0.5}}],
        ),
        model(
            "ministral3_tied_window",
            ministral3(rope_parameters={**temperature, "llama_4_scaling_beta": 0.1}, sliding_window=6, tie_word_embeddings=True),
            LONG,
            [{"sliding_window": None}, {"rope_parameters": {**temperature, "llama_4_scaling_beta": 0.0}}],
        ),
    ]


def smollm3_models():
    yarn = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}
    return [
        # The default pattern: every fourth layer has no rotation.
        model("smollm3", smollm3(), ALL, [{"no_rope_layers": [1, 1, 1, 1]}, {"no_rope_layers": [0, 1, 1, 1]}]),
        model(
            "smollm3_layers",
            smollm3(num_hidden_layers=3, no_rope_layers=[0, 1, 0], tie_word_embeddings=False, rope_theta=100.0),
            LONG,
            [{"no_rope_layers": [1, 0, 1]}],
        ),
        model(
            "smollm3_interval",
            smollm3(no_rope_layer_interval=2, attention_bias=True, mlp_bias=True),
            USUAL,
            [{"no_rope_layer_interval": 4}],
        ),
        # Only the layers without rotation slide.
        model(
            "smollm3_window",
            smollm3(no_rope_layer_interval=2, use_sliding_window=True, sliding_window=3),
            LONG,
            [{"use_sliding_window": False}, {"no_rope_layer_interval": 4}],
        ),
        model("smollm3_yarn", smollm3(rope_theta=10000.0, rope_scaling=yarn, num_hidden_layers=2, no_rope_layers=[1, 0]), LONG, [{"rope_scaling": None}]),
        model("smollm3_theta_default", smollm3(rope_theta=..., num_hidden_layers=1, head_dim=16), USUAL, [{"rope_theta": 10000.0}]),
    ]


def phi3_models():
    su = {"type": "su", "short_factor": SHORT_FACTORS, "long_factor": LONG_FACTORS}
    mini4 = {"type": "longrope", "short_factor": SHORT_FACTORS[:6], "long_factor": LONG_FACTORS[:6]}
    half = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
        "short_factor": SHORT_FACTORS[:4],
        "long_factor": LONG_FACTORS[:4],
        "attention_factor": 1.1,
    }
    return [
        # Phi-3-mini-4k: as many key as query heads, a sliding window, no scaling.
        model("phi3_4k", phi3(num_key_value_heads=4, sliding_window=7, rope_scaling=None), ALL, [{"sliding_window": None}, {"sliding_window": 8}]),
        # Phi-3-mini-128k as first released: the older name of longrope, which transformers 5.24 no longer completes with the original
        # length at the top of the config.
        model(
            "phi3_su",
            phi3(original_max_position_embeddings=17, rope_scaling=su),
            (5, 17, 18, 40),
            [{"rope_scaling": None}, {"original_max_position_embeddings": 64}],
            cached_equal=False,
            runs_as={"rope_scaling": {**su, "type": "longrope"}},
        ),
        # Phi-3 calls longrope also "yarn".
        model(
            "phi3_yarn_name",
            phi3(original_max_position_embeddings=17, rope_scaling={**su, "type": "yarn"}),
            (17, 40),
            [{"rope_scaling": None}],
            cached_equal=False,
        ),
        # Phi-4-mini: grouped heads, tied, three quarters of each head rotate.
        model(
            "phi3_4_mini",
            phi3(
                hidden_size=96,
                num_attention_heads=6,
                num_key_value_heads=2,
                tie_word_embeddings=True,
                partial_rotary_factor=0.75,
                original_max_position_embeddings=17,
                rope_scaling=mini4,
                sliding_window=262144,
            ),
            (17, 18, 40),
            [{"original_max_position_embeddings": 64}],
            cached_equal=False,
        ),
        model("phi3_partial", phi3(partial_rotary_factor=0.5, rope_scaling=None), LONG, [{"partial_rotary_factor": 1.0}]),
        model(
            "phi3_attention_factor",
            phi3(rope_theta=..., original_max_position_embeddings=17, rope_parameters=half),
            (17, 40),
            [{"rope_parameters": without(half, "attention_factor")}],
            cached_equal=False,
        ),
    ]


def gemma2_models():
    return [
        # Even layers slide, odd ones see everything.
        model(
            "gemma2",
            gemma2(),
            ALL,
            [
                {"sliding_window": 5},
                {"layer_types": ["full_attention", "sliding_attention"]},
                {"attn_logit_softcapping": None},
                {"final_logit_softcapping": None},
                {"query_pre_attn_scalar": 16},
            ],
        ),
        model(
            "gemma2_layer_types",
            gemma2(num_hidden_layers=3, layer_types=["full_attention", "sliding_attention", "sliding_attention"], num_key_value_heads=4),
            LONG,
            [{"layer_types": ...}],
        ),
        model("gemma2_no_caps", gemma2(attn_logit_softcapping=None, final_logit_softcapping=None, vocab_size=101), USUAL),
        model("gemma2_head_256", gemma2(head_dim=256, num_attention_heads=2, num_key_value_heads=1, query_pre_attn_scalar=256), USUAL),
    ]


def gemma3_models():
    nested = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        "full_attention": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 8.0},
    }
    types = ["sliding_attention", "full_attention", "sliding_attention"]
    flat = {"rope_theta": 10000.0, "rope_local_base_freq": 100.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    return [
        model(
            "gemma3",
            gemma3(num_hidden_layers=3, layer_types=types, rope_parameters=nested),
            ALL,
            [
                {"rope_parameters": {**nested, "full_attention": {**nested["full_attention"], "factor": 1.0}}},
                {"rope_parameters": {**nested, "sliding_attention": nested["full_attention"]}},
                {"sliding_window": 5},
                {"query_pre_attn_scalar": 24},
            ],
        ),
        # Files written before per-layer rope parameters: flat keys and a pattern, both defaults spelt out.
        model(
            "gemma3_flat",
            gemma3(num_hidden_layers=3, sliding_window_pattern=2, num_key_value_heads=2, **flat),
            LONG,
            [{"sliding_window_pattern": 3}, {"rope_scaling": None}, {"rope_local_base_freq": 10000.0}, {"rope_theta": 100.0}],
        ),
        # No pattern and no rope fields: the sixth layer is global, base 1e6 there and 1e4 elsewhere.
        model(
            "gemma3_defaults",
            gemma3(num_hidden_layers=7, num_attention_heads=2, head_dim=8, intermediate_size=32),
            LONG,
            [{"sliding_window_pattern": 5}, {"rope_theta": 10000.0}, {"rope_local_base_freq": 1000000.0}],
        ),
        model(
            "gemma3_head_256",
            gemma3(head_dim=256, num_attention_heads=2, query_pre_attn_scalar=256, layer_types=types[:2], vocab_size=101, attention_bias=False),
            USUAL,
        ),
    ]


FAMILIES = {
    "llama": llama_models,
    "qwen2": qwen2_models,
    "qwen3": qwen3_models,
    "mistral": mistral_models,
    "smollm3": smollm3_models,
    "phi3": phi3_models,
    "gemma2": gemma2_models,
    "gemma3": gemma3_models,
}
