"""ALiBi decoders and recurrent models: config.json of every tiny model; the fields of an entry are explained in models_decoder.py."""

from models_decoder import ALL, LONG, SHORT, USUAL, model


def bloom(**fields):
    base = {
        "architectures": ["BloomForCausalLM"],
        "model_type": "bloom",
        "vocab_size": 49,
        "hidden_size": 32,
        "n_layer": 2,
        "n_head": 4,
        "layer_norm_epsilon": 1e-5,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }
    return {key: value for key, value in {**base, **fields}.items() if value is not ...}


def bloom_models():
    # The checkpoints of bloom-560m to bloom-176b: keys of their time, and tensor names without the "transformer." before them.
    hub = bloom(
        hidden_size=...,
        n_embed=48,
        n_head=...,
        num_attention_heads=6,
        apply_residual_connection_post_layernorm=False,
        attention_softmax_in_fp32=True,
        masked_softmax_fusion=True,
        offset_alibi=100,
        pretraining_tp=1,
        seq_length=32,
    )
    return [
        model("bloom", hub, ALL, [{"layer_norm_epsilon": 0.1}], prefix="transformer."),
        model("bloom_prefixed", bloom(), LONG),
        model("bloom_heads_3", bloom(hidden_size=24, n_head=3, vocab_size=101), LONG),
        model("bloom_untied", bloom(tie_word_embeddings=False, n_head=8, hidden_size=64), USUAL),
        model(
            "bloom_residual_after_norm",
            bloom(apply_residual_connection_post_layernorm=True),
            USUAL,
            [{"apply_residual_connection_post_layernorm": False}],
        ),
    ]


def mpt(attention=None, **fields):
    base = {
        "architectures": ["MPTForCausalLM"],
        "model_type": "mpt",
        "vocab_size": 49,
        "d_model": 32,
        "n_heads": 4,
        "n_layers": 2,
        "expansion_ratio": 4,
        "max_seq_len": 64,
        "no_bias": True,
        "norm_type": "low_precision_layernorm",
        "learned_pos_emb": True,
        "logit_scale": None,
        "attn_config": {
            "alibi": True,
            "alibi_bias_max": 8,
            "attn_impl": "torch",
            "attn_type": "multihead_attention",
            "clip_qkv": None,
            "prefix_lm": False,
            "qk_ln": False,
            "softmax_scale": None,
            **(attention or {}),
        },
    }
    return {**base, **fields}


def mpt_models():
    def attention(**fields):
        return {"attn_config": mpt(fields)["attn_config"]}

    return [
        # mpt-7b-storywriter: slopes down to 2^-16; queries, keys and values clipped.
        model(
            "mpt",
            mpt({"alibi_bias_max": 16, "clip_qkv": 0.8}),
            ALL,
            [attention(alibi_bias_max=8, clip_qkv=0.8), attention(alibi_bias_max=16)],
        ),
        model("mpt_heads_6", mpt(d_model=48, n_heads=6, vocab_size=101), LONG, [attention(alibi_bias_max=4)]),
        model("mpt_scale", mpt({"softmax_scale": 0.5}, n_heads=2), USUAL, [attention()]),
        # No attn_config: all its defaults.
        model("mpt_defaults", {key: value for key, value in mpt().items() if key != "attn_config"}, USUAL, [attention(alibi_bias_max=4)]),
    ]


def mamba(**fields):
    base = {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "vocab_size": 49,
        "hidden_size": 24,
        "intermediate_size": 48,
        "state_size": 8,
        "num_hidden_layers": 2,
        "expand": 2,
        "conv_kernel": 4,
        "time_step_rank": 3,
        "hidden_act": "silu",
        "layer_norm_epsilon": 1e-5,
        "residual_in_fp32": True,
        "use_bias": False,
        "use_conv_bias": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    return {key: value for key, value in {**base, **fields}.items() if value is not ...}


def mamba_models():
    return [
        model("mamba", mamba(tie_word_embeddings=True), ALL, [{"layer_norm_epsilon": 0.1}]),
        # "auto" is hidden_size / 16, rounded up.
        model("mamba_rank_auto", mamba(hidden_size=40, intermediate_size=80, time_step_rank="auto", vocab_size=101), LONG),
        model("mamba_bias", mamba(use_bias=True, conv_kernel=3, state_size=5, num_hidden_layers=3), USUAL),
        model("mamba_no_conv_bias", mamba(use_conv_bias=False, expand=1, intermediate_size=24, tie_word_embeddings=False), USUAL),
    ]


def mamba2(**fields):
    base = {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        "vocab_size": 49,
        "hidden_size": 24,
        "state_size": 8,
        "num_hidden_layers": 2,
        "expand": 2,
        "conv_kernel": 4,
        "num_heads": 6,
        "head_dim": 8,
        "n_groups": 1,
        "chunk_size": 7,
        "hidden_act": "silu",
        "layer_norm_epsilon": 1e-5,
        "norm_before_gate": True,
        "rms_norm": True,
        "residual_in_fp32": True,
        "use_bias": False,
        "use_conv_bias": True,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }
    return {**base, **fields}


def mamba2_models():
    unbounded = [0.0, {"__float__": "Infinity"}]
    return [
        # The 130m to 2.7b checkpoints: one group, tied. norm_before_gate is in their config.json and changes nothing: the gate comes first.
        model("mamba2", mamba2(tie_word_embeddings=True, time_step_limit=unbounded), ALL, [{"time_step_limit": [0.3, 0.5]}]),
        # Codestral Mamba: several groups, each with a norm of its own.
        model("mamba2_groups_2", mamba2(n_groups=2, time_step_limit=unbounded), LONG),
        model("mamba2_groups_3", mamba2(n_groups=3, vocab_size=101, use_bias=True), USUAL),
        # transformers clamps the step in the chunked pass only, so its own cached decoding differs from a recomputation.
        model("mamba2_step_limit", mamba2(time_step_limit=[0.3, 0.5]), LONG, [{"time_step_limit": [0.3, 5.0]}, {"time_step_limit": [0.0, 0.5]}], cache_bug=True),
        model("mamba2_no_conv_bias", mamba2(use_conv_bias=False, head_dim=12, num_heads=4, conv_kernel=3), SHORT + USUAL),
    ]


FAMILIES = {"bloom": bloom_models, "mpt": mpt_models, "mamba": mamba_models, "mamba2": mamba2_models}
