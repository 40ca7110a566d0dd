"""The GGUF files: config of each tiny model and how its tensors are stored.

`storage` maps the end of a GGUF tensor name to a type; the first match counts and what matches none is F32. What a GGUF file cannot say is
as llama.cpp assumes it: gemma scales scores by head_dim, gemma2 slides on even layers, gemma3 has a global layer in six, smollm3 leaves every
fourth layer unrotated.
"""

from models_decoder import LONG_FACTORS, SHORT_FACTORS, gemma2, gemma3, llama, model, phi3, qwen2, qwen3, smollm3
from models_other import bloom, mamba, mamba2, mpt
from models_rwkv7 import rwkv7

HALF = {"norm.weight": "F32", "ssm_conv1d.weight": "F32", ".weight": "F16"}


def gguf_models():
    quantised = llama(
        hidden_size=256,
        intermediate_size=256,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    linear = {"rope_type": "linear", "factor": 8.0, "rope_theta": 10000.0}
    window = {"num_hidden_layers": 7, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 128}
    return [
        model(
            "llama",
            llama(
                num_attention_heads=8,
                hidden_size=64,
                rope_theta=500.0,
                rope_scaling={
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 32,
                },
            ),
        ),
        model("llama_bias_linear", llama(attention_bias=True, rope_theta=10000.0, rope_scaling={"rope_type": "linear", "factor": 4.0}), storage=HALF),
        model(
            "qwen2",
            qwen2(rope_theta=10000.0, rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}, tie_word_embeddings=True),
            storage={"norm.weight": "F32", ".weight": "BF16"},
        ),
        model("qwen3", qwen3(), storage=HALF),
        model(
            "phi3",
            phi3(
                hidden_size=96,
                num_attention_heads=6,
                num_key_value_heads=2,
                num_hidden_layers=1,
                partial_rotary_factor=0.75,
                original_max_position_embeddings=17,
                rope_scaling={"type": "longrope", "short_factor": SHORT_FACTORS[:6], "long_factor": LONG_FACTORS[:6]},
                sliding_window=262144,
            ),
            (17, 18, 40),
            storage=HALF,
            cached_equal=False,
        ),
        model("gemma2", gemma2(query_pre_attn_scalar=16), storage=HALF),
        model(
            "gemma3",
            gemma3(
                rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 100.0}, "full_attention": linear},
                layer_types=["sliding_attention"] * 5 + ["full_attention", "sliding_attention"],
                **window,
            ),
            storage=HALF,
        ),
        model("smollm3", smollm3(num_attention_heads=2, num_key_value_heads=1), storage=HALF),
        model("bloom", bloom(n_head=3, hidden_size=24, seq_length=128)),
        model("mpt", mpt({"alibi_bias_max": 16, "clip_qkv": 0.8}, n_heads=3, d_model=24)),
        model("mamba", mamba(hidden_size=32, intermediate_size=64, vocab_size=56, tie_word_embeddings=True), storage=HALF),
        model(
            "mamba2",
            mamba2(n_groups=2, hidden_size=32, num_heads=4, head_dim=16, vocab_size=64, time_step_limit=[0.0, {"__float__": "Infinity"}]),
        ),
        model(
            "llama_q4_k_m",
            quantised,
            storage={
                "norm.weight": "F32",
                "token_embd.weight": "Q4_K",
                "attn_output.weight": "Q5_1",
                "output.weight": "Q6_K",
                "attn_q.weight": "Q4_K",
                "attn_k.weight": "Q5_K",
                "attn_v.weight": "Q6_K",
                "ffn_gate.weight": "Q4_0",
                "ffn_up.weight": "Q8_0",
                "ffn_down.weight": "Q4_K",
            },
        ),
        model(
            "llama_other_blocks",
            quantised,
            storage={
                "norm.weight": "F32",
                "token_embd.weight": "Q4_1",
                "attn_output.weight": "MXFP4",
                "output.weight": "Q5_0",
                "attn_q.weight": "Q3_K",
                "attn_k.weight": "Q2_K",
                "attn_v.weight": "BF16",
                "ffn_gate.weight": "IQ4_NL",
                "ffn_up.weight": "IQ4_XS",
                "ffn_down.weight": "Q3_K",
            },
        ),
        model(
            "rwkv7",
            rwkv7(hidden_size=128, head_dim=64, intermediate_size=128, num_hidden_layers=2, vocab_size=64),
            storage={
                "norm.weight": "F32",
                "norm_2.weight": "F32",
                "ln.weight": "F32",
                "time_mix_w1.weight": "F32",
                "time_mix_w2.weight": "F32",
                "lerp_fused.weight": "F32",
                "time_mix_w0.weight": "F32",
                "2.weight": "F16",
                ".weight": "Q8_0",
            },
        ),
    ]
