"""Write a checkpoint as a Hugging Face folder, and the golden logits that every implementation is tested with.

    python export.py --name rope --checkpoint RUN/checkpoint.pt --corpus corpus.jsonl --tokenizer DIR --model DIR --golden DIR

--tokenizer is the folder that tokenizer.py wrote, or the exported model that `ask` grew from (--grown-from names it too); --model and --golden are made: the goldens are GOLDEN/NAME.json and GOLDEN/tokenizer.json.
"""

import argparse
import json
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import tokenizers
import torch
from safetensors.torch import save
from tokenizers import Tokenizer

from library import LANGUAGE_WEIGHTS
from model import LanguageModel, Sizes, load_pretrained
from packs import ABSENT_SHARE, HARD_WEIGHT, USAGE_FIRST_SHARE
from questions import ABSENT
from samples import LONG_PROMPT, TOKENIZER_SAMPLES
from siblings import CONFIGS, GROWN_LAYERS, config_json

GENERATED_TOKENS = 12


def config_of(config: Sizes, tokenizer: Tokenizer, longest: int) -> dict:
    return {
        **config_json(config, longest),
        "bos_token_id": None,
        "eos_token_id": [tokenizer.encode("\n").ids[0], tokenizer.token_to_id("<|end|>")],
        "pad_token_id": tokenizer.token_to_id("<|pad|>"),
        "absent_token_id": tokenizer.token_to_id(ABSENT),
        "prompt_format": "extractive",
        "answer_lines": "many",
        "dtype": "float16",
    }


def write_json(path: Path, value: dict, indent: int | None = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


def rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


@torch.no_grad()
def logits_case(model: LanguageModel, name: str, ids: list[int], rope: dict | None, generate: int = 0) -> dict:
    """One prompt; `rope` is None for a model that has nothing to scale."""
    if rope is not None:
        model.rope = rope
    logits = model(torch.tensor([ids]))[0]
    case = {
        "name": name,
        "rope_parameters": rope,
        "ids": ids,
        "lastLogits": rounded(logits[-1]),
        "sumPerPosition": rounded(logits.double().sum(-1)),
        "argmaxPerPosition": logits.argmax(-1).tolist(),
    }
    if generate:
        continued = list(ids)
        for _ in range(generate):
            continued.append(int(model(torch.tensor([continued]))[0, -1].argmax()))
        case["greedyNext"] = continued[len(ids) :]
    return case


def logits_golden(folder: Path, tokenizer: Tokenizer) -> dict:
    model = load_pretrained(folder)
    prompt = tokenizer.encode(LONG_PROMPT).ids
    rotates = getattr(model, "rotates", False)
    default = {"rope_type": "default"} if rotates else None
    cases = [logits_case(model, "ids 1 to 8", list(range(1, 9)), default), logits_case(model, "prompt", prompt, default, GENERATED_TOKENS)]
    if rotates:
        trained = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
        yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": trained}
        cases.append(logits_case(model, "prompt, YaRN factor 4", prompt, yarn, GENERATED_TOKENS))
    return {
        "what": "logits of the exported specimen: all of the last position, sums and argmax of every position, greedy continuation",
        "made_by": "engine/specimens/export.py",
        "reference": "PyTorch float32 on the exported f16 weights",
        "prompt": LONG_PROMPT,
        "cases": cases,
    }


def tokenizer_golden(tokenizer: Tokenizer) -> dict:
    cases = []
    for text in TOKENIZER_SAMPLES:
        ids = tokenizer.encode(text).ids
        cases.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
    return {"what": "ids and decoded text of strings", "made_by": "engine/specimens/export.py", "reference": "the tokenizers library", "cases": cases}


def token_counts(corpus: Path, tokenizer: Tokenizer, kept: Path) -> dict[str, int]:
    """Tokens of every split; counted once and kept beside the tokenizer."""
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    counts = Counter()
    with corpus.open(encoding="utf-8") as lines:
        for file in map(json.loads, lines):
            counts[file["split"]] += len(tokenizer.encode(file["text"]).ids)
    write_json(kept, dict(counts))
    return dict(counts)


def recipe_of(name: str, state: dict, manifest: dict, start: Path | None) -> dict:
    """Everything needed to repeat the run; the manifest stands for the files through its sha256."""
    corpus = {key: manifest[key] for key in ("sha256", "freshSha256", "files", "bytes", "filesByLanguage", "tokens")}
    model = {"name": name, **asdict(CONFIGS[name]), "parameters": sum(tensor.numel() for tensor in state["model"].values())}
    run = {"steps": state["step"], "tokens": state["tokens"], "cpuSeconds": round(state["cpu_seconds"])}
    versions = {"torch": torch.__version__.split("+")[0], "tokenizers": tokenizers.__version__}
    packs = {
        "languageWeights": LANGUAGE_WEIGHTS, "absentShare": ABSENT_SHARE, "hardWeight": HARD_WEIGHT, "usageFirstShare": USAGE_FIRST_SHARE,
    }  # fmt: skip
    recipe = {"model": model, "training": state["recipe"], "packs": packs, "run": run, "versions": versions, "corpus": corpus}
    if start is None:
        return recipe
    before = json.loads((start / "recipe.json").read_text(encoding="utf-8"))
    return {**recipe, "grownFrom": {"name": start.name, "layers": GROWN_LAYERS, "training": before["training"], "run": before["run"]}}


def cycles_run(state: dict) -> list[dict]:
    """The cycles of the recipe that this checkpoint has begun; the last batch of one may reach into the next."""
    begun, before = [], 0
    for cycle in state["recipe"]["cycles"]:
        if before + state["recipe"]["batch_tokens"] <= state["tokens"]:
            begun.append(cycle)
        before += sum(tokens for _, tokens in cycle["phases"])
    return begun


def stored(tensor: torch.Tensor) -> torch.Tensor:
    """As float16; matrices first rounded to the 8 significant bits of bfloat16 that training multiplied with, which packs a fifth smaller."""
    if tensor.dim() >= 2:
        tensor = tensor.to(torch.bfloat16)
    return tensor.to(torch.float16).contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", choices=list(CONFIGS), required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--grown-from", type=Path, help="the exported model whose weights the training began with")
    arguments = parser.parse_args()
    arguments.model.mkdir(parents=True, exist_ok=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(arguments.tokenizer / file, arguments.model / file)
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    state = torch.load(arguments.checkpoint, weights_only=True)
    state["recipe"]["cycles"] = cycles_run(state)
    longest = max(length for cycle in state["recipe"]["cycles"] for length, _ in cycle["phases"])
    write_json(arguments.model / "config.json", config_of(CONFIGS[arguments.name], tokenizer, longest))
    manifest = json.loads(arguments.corpus.with_suffix(".manifest.json").read_text(encoding="utf-8"))
    manifest["tokens"] = token_counts(arguments.corpus, tokenizer, arguments.tokenizer / "tokens.json")
    write_json(arguments.model / "recipe.json", recipe_of(arguments.name, state, manifest, arguments.grown_from))
    log = arguments.checkpoint.parent / "log.jsonl"
    if log.exists():
        # A run may have gone on behind this checkpoint.
        lines = [line for line in log.read_text(encoding="utf-8").splitlines() if json.loads(line)["tokens"] <= state["tokens"]]
        (arguments.model / "training.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    weights = {name: stored(tensor) for name, tensor in state["model"].items()}
    (arguments.model / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    write_json(arguments.golden / "tokenizer.json", tokenizer_golden(tokenizer), indent=None)
    write_json(arguments.golden / f"{arguments.name}.json", logits_golden(arguments.model, tokenizer), indent=None)
    print("tokens trained", state["tokens"], "bytes", (arguments.model / "model.safetensors").stat().st_size)


if __name__ == "__main__":
    main()
