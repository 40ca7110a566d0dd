"""Some of the tiny models of families/*.json as GGUF files, by llama.cpp's own converter.

    pip install -r test/golden/make/requirements.txt
    python test/golden/make/gguf_models.py <llama.cpp> [quantisation]

<llama.cpp> is a source tree with conversion/ and gguf-py/; the stored files were made with the one in the source distribution of
llama-cpp-python 0.3.36. Matrices become Q8_0 (F16 where their rows are no multiple of 32), or what the second argument says (f32).
Of the vocabulary only the special tokens matter: ids 1 to 3 are control tokens, the others are letters and t0, t1 ….
"""

import json
import sys
import tempfile
from pathlib import Path

LLAMA_CPP = Path(sys.argv[1])
sys.path.insert(0, str(LLAMA_CPP / "gguf-py"))
sys.path.insert(0, str(LLAMA_CPP))

import gguf  # noqa: E402
import numpy as np  # noqa: E402
from conversion import get_model_class  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

from weight_rule import values_of  # noqa: E402

HERE = Path(__file__).parent.parent
TYPES = {"q8_0": gguf.LlamaFileType.MOSTLY_Q8_0, "f32": gguf.LlamaFileType.ALL_F32}

MODELS = [
    ("llama", "llama_3"),
    ("llama", "llama_biases"),
    ("llama", "llama_yarn"),
    ("mistral", "mistral_nemo"),
    ("qwen2", "qwen2_untied"),
    ("qwen3", "qwen3"),
    ("smollm3", "smollm3"),
    ("phi3", "phi3_4_mini"),
    ("gemma2", "gemma2"),
    ("gemma3", "gemma3"),
    ("gemma3", "gemma3_defaults"),
    ("bloom", "bloom_prefixed"),
    ("mpt", "mpt"),
    ("mamba", "mamba"),
    ("mamba2", "mamba2_groups_2"),
    ("rwkv7", "rwkv7"),
]

TEMPLATE = "{% for message in messages %}{{ message.content }}<|eot_id|>{% endfor %}"


def tiny_vocabulary(model):
    """In place of the tokenizer's files, which a model without text has not."""

    def set_vocab():
        size = model.hparams["vocab_size"]
        letters = [chr(ord("a") + i) for i in range(26)]
        tokens = ["<unk>", "<s>", "</s>", "<|eot_id|>", "ab", *letters, *(f"t{i}" for i in range(size))][:size]
        writer = model.gguf_writer
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_types([1, 3, 3, 3] + [1] * (size - 4))
        writer.add_token_merges(["a b"])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_chat_template(TEMPLATE)

    return set_vocab


def entry_of(family, name):
    models = json.loads((HERE / "families" / f"{family}.json").read_text())["models"]
    return next(entry for entry in models if entry["name"] == name)


def vocabulary_size(config):
    return config.get("text_config", config)["vocab_size"]


def convert(family, name, quantisation, out):
    entry = entry_of(family, name)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(entry["config"]))
        # Gemma 3's converter cuts the embedding to the vocabulary of this file.
        vocabulary = {f"t{i}": i for i in range(vocabulary_size(entry["config"]))}
        (Path(folder) / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": []}))
        tensors = {rule["name"]: values_of(rule).astype(np.float32) for rule in entry["tensors"]}
        save_file(tensors, Path(folder) / "model.safetensors")
        architecture = entry["config"]["architectures"][0]
        model = get_model_class(architecture)(Path(folder), TYPES[quantisation], out, model_name=name)
        model.set_vocab = tiny_vocabulary(model)
        model.write()


quantisation = sys.argv[2] if len(sys.argv) > 2 else "q8_0"
target = HERE / "gguf" / "converted" if quantisation == "q8_0" else Path(tempfile.mkdtemp(prefix="gguf-"))
target.mkdir(exist_ok=True)
for family, name in MODELS:
    convert(family, name, quantisation, target / f"{name}.gguf")
print(target)
