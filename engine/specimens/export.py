"""Write a checkpoint as a Hugging Face folder and the golden files the other implementations are tested with.

    python export.py --checkpoint RUN/checkpoint.pt --corpus corpus.jsonl --model DIR --golden DIR

DIR of --model already holds tokenizer.json and tokenizer_config.json.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import tokenizers
import torch
from safetensors.torch import save
from tokenizers import Tokenizer

from model import KeyShiftForCausalLM, ModelConfig, load_pretrained
from packs import ABSENT_SHARE, HARD_WEIGHT, KIND_WEIGHTS, LANGUAGE_WEIGHTS
from questions import ABSENT
from samples import LONG_PROMPT, TOKENIZER_SAMPLES

GENERATED_TOKENS = 12


def config_of(config: ModelConfig, tokenizer: Tokenizer, longest: int) -> dict:
    return {
        "architectures": ["LcpKeyShiftForCausalLM"],
        "model_type": "lcp_keyshift",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.rms_norm_eps,
        "max_position_embeddings": longest,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": True,
        "embedding_multiplier": config.embedding_multiplier,
        "hidden_act": "silu",
        "bos_token_id": None,
        "eos_token_id": [tokenizer.encode("\n").ids[0], tokenizer.token_to_id("<|end|>")],
        "pad_token_id": tokenizer.token_to_id("<|pad|>"),
        "absent_token_id": tokenizer.token_to_id(ABSENT),
        "prompt_format": "extractive",
        "dtype": "float16",
    }


def write_json(path: Path, value: dict, indent: int | None = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


def rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


@torch.no_grad()
def logits_case(model: KeyShiftForCausalLM, name: str, ids: list[int], rope_parameters: dict, generate: int = 0) -> dict:
    logits = model(torch.tensor([ids]), rope_parameters)[0]
    case = {
        "name": name,
        "rope_parameters": rope_parameters,
        "ids": ids,
        "lastLogits": rounded(logits[-1]),
        "sumPerPosition": rounded(logits.double().sum(-1)),
        "sumAllPositions": round(logits.double().sum().item(), 4),
        "argmaxPerPosition": logits.argmax(-1).tolist(),
    }
    if generate:
        continued = list(ids)
        for _ in range(generate):
            continued.append(int(model(torch.tensor([continued]), rope_parameters)[0, -1].argmax()))
        case["greedyNext"] = continued[len(ids) :]
    return case


def logits_golden(folder: Path, tokenizer: Tokenizer) -> dict:
    model = load_pretrained(folder)
    theta = model.config.rope_theta
    trained = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    default = {"rope_type": "default", "rope_theta": theta}
    yarn = {"rope_type": "yarn", "rope_theta": theta, "factor": 4.0, "original_max_position_embeddings": trained}
    prompt = tokenizer.encode(LONG_PROMPT).ids
    return {
        "what": "logits of the exported specimen: all of the last position, sums and argmax of every position, greedy continuation",
        "made_by": "engine/specimens/export.py",
        "reference": "PyTorch float32 on the exported f16 weights",
        "prompt": LONG_PROMPT,
        "cases": [
            logits_case(model, "ids 1 to 8", list(range(1, 9)), default),
            logits_case(model, "prompt", prompt, default, GENERATED_TOKENS),
            logits_case(model, "prompt, YaRN factor 4", prompt, yarn, GENERATED_TOKENS),
        ],
    }


def tokenizer_golden(tokenizer: Tokenizer) -> dict:
    cases = []
    for text in TOKENIZER_SAMPLES:
        ids = tokenizer.encode(text).ids
        cases.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
    return {"what": "ids and decoded text of strings", "made_by": "engine/specimens/export.py", "reference": "the tokenizers library", "cases": cases}


def token_counts(corpus: Path, tokenizer: Tokenizer) -> dict[str, int]:
    counts = Counter()
    with corpus.open(encoding="utf-8") as lines:
        for file in map(json.loads, lines):
            counts[file["split"]] += len(tokenizer.encode(file["text"]).ids)
    return dict(counts)


def recipe_of(state: dict, manifest: dict, config: ModelConfig) -> dict:
    """Everything needed to repeat the run; the manifest stands for the files through its sha256."""
    corpus = {name: value for name, value in manifest.items() if name != "fileHashes"}
    model = {**asdict(config), "parameters": sum(tensor.numel() for tensor in state["model"].values())}
    run = {"steps": state["step"], "tokens": state["tokens"], "seconds": round(state["seconds"])}
    versions = {"torch": torch.__version__.split("+")[0], "tokenizers": tokenizers.__version__}
    packs = {"kindWeights": KIND_WEIGHTS, "languageWeights": LANGUAGE_WEIGHTS, "absentShare": ABSENT_SHARE, "hardWeight": HARD_WEIGHT}
    return {"model": model, "training": state["recipe"], "packs": packs, "run": run, "versions": versions, "corpus": corpus}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--golden", type=Path, required=True)
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    state = torch.load(arguments.checkpoint, weights_only=True)
    config = ModelConfig(vocab_size=tokenizer.get_vocab_size())
    longest = max(length for cycle in state["recipe"]["cycles"] for length, _ in cycle["phases"])
    write_json(arguments.model / "config.json", config_of(config, tokenizer, longest))
    manifest = json.loads(arguments.corpus.with_suffix(".manifest.json").read_text(encoding="utf-8"))
    manifest["tokens"] = token_counts(arguments.corpus, tokenizer)
    write_json(arguments.model / "recipe.json", recipe_of(state, manifest, config))
    weights = {name: tensor.to(torch.float16).contiguous() for name, tensor in state["model"].items()}
    (arguments.model / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    write_json(arguments.golden / "specimen_tokenizer.json", tokenizer_golden(tokenizer), indent=None)
    write_json(arguments.golden / "specimen_logits.json", logits_golden(arguments.model, tokenizer), indent=None)
    print("tokens trained", state["tokens"], "bytes", (arguments.model / "model.safetensors").stat().st_size)


if __name__ == "__main__":
    main()
