"""Some of the tiny models of families/*.json as ONNX files, by the model builder of onnxruntime-genai.

    pip install -r test/golden/make/requirements.txt onnxruntime-genai==0.18.0
    python test/golden/make/onnx_models.py

Stored are the graph and its data file: symmetric four bits, eight bits with zero points, a quantised table that is also the output
head, and plain floats.
"""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from onnxruntime_genai.models.builder import create_model, parse_extra_options
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from weight_rule import values_of

HERE = Path(__file__).parent.parent
MODELS = [
    ("llama", "llama_3", "int4", []),
    ("qwen2", "qwen2_untied", "int8", ["algo_config=k_quant", "is_symmetric=false"]),
    ("qwen3", "qwen3", "int4", []),
    ("llama", "llama_biases", "fp32", []),
]


def entry_of(family, name):
    entries = json.loads((HERE / "families" / f"{family}.json").read_text())["models"]
    return next(entry for entry in entries if entry["name"] == name)


def build(family, name, precision, options):
    entry = entry_of(family, name)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as built:
        (Path(folder) / "config.json").write_text(json.dumps(entry["config"]))
        tensors = {rule["name"]: values_of(rule).astype(np.float32) for rule in entry["tensors"]}
        save_file(tensors, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        words = {f"t{i}": i for i in range(entry["config"]["vocab_size"])}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="t0").save_pretrained(folder)
        place = ("", folder, built, precision, "cpu", f"{folder}/cache")
        create_model(*place, **parse_extra_options(*place, ["block_size=32", *options]))
        target = HERE / "onnx" / name
        target.mkdir(parents=True, exist_ok=True)
        for file in ("model.onnx", "model.onnx.data"):
            shutil.copy(Path(built) / file, target / file)


for model in MODELS:
    build(*model)
