"""Writes test/golden/families/<family>.json: random tiny models run by Hugging Face transformers in float32 with eager attention.

    python families.py            every family
    python families.py llama phi3 these

A model is a config.json and rules for its tensors (weight_rule.py), under the names of its checkpoint. The script writes both as a
checkpoint folder and opens it as a user would, so names, shapes and old config keys are what transformers accepts. It refuses to store
a model when a config change listed under `matters` leaves the logits as they are, when cached decoding differs from a recomputation
(but for the schemes where it must), or when the float64 forward of forward.py disagrees.
"""

import json
import pathlib
import sys
import tempfile
import warnings

import models_rwkv7

import fla.models
import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

import forward
import models_decoder
import models_other
from weight_rule import prompt, rule_of, values_of

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)

OUT = pathlib.Path(__file__).resolve().parent.parent / "families"
FAMILIES = {**models_decoder.FAMILIES, **models_other.FAMILIES, **models_rwkv7.FAMILIES}
GREEDY_STEPS = 6
# float32 against float32 of another order, and against float64.
CACHED_TOLERANCE, FORWARD_TOLERANCE = 2e-5, 1e-4
# What a change that matters must move at least: ten times the tests' tolerance.
VISIBLE = 2e-3
# Prompts are chosen so that every greedy token is this far ahead.
DECISIVE = 1e-2


class Checkpoint:
    """One tiny model on disk; `logits` is a whole forward pass of a model opened anew, so that no rope state survives a call."""

    def __init__(self, config, rules=None, prefix="", to_checkpoint=dict, values=None):
        self.config = config
        self.folder = tempfile.TemporaryDirectory()
        path = pathlib.Path(self.folder.name)
        (path / "config.json").write_text(json.dumps(config))
        # By name: flash-linear-attention registers classes of its own for families that transformers has.
        kind = config["model_type"]
        self.runs = fla.models.RWKV7ForCausalLM if kind == "rwkv7" else getattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind])
        with torch.device("meta"):
            shell = self.runs(self.runs.config_class.from_pretrained(path))
        shell.tie_weights()
        tied = set(getattr(shell, "all_tied_weights_keys", {}) or {})
        shapes = {name: tuple(value.shape) for name, value in shell.state_dict().items() if name not in tied}
        shapes = {name.removeprefix(prefix): shape for name, shape in shapes.items()}
        self.rules = rules or [rule_of(name, shape, config["model_type"], bool(tied)) for name, shape in shapes.items()]
        self.tensors = values or to_checkpoint({rule["name"]: values_of(rule) for rule in self.rules})
        saved = {name: torch.tensor(value, dtype=torch.float32).contiguous() for name, value in self.tensors.items()}
        save_file(saved, path / "model.safetensors", metadata={"format": "pt"})

    def open(self):
        model, notes = self.runs.from_pretrained(
            self.folder.name, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
        )
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            assert not notes[kind], (self.config["model_type"], kind, notes[kind])
        if self.config["model_type"] == "mpt":
            # transformers 5.24 reads attn_config.alibi_bias_max and does not pass it on; the model's own code does.
            of = model.transformer.build_mpt_alibi_tensor
            most = model.config.attn_config.alibi_bias_max
            model.transformer.build_mpt_alibi_tensor = lambda heads, length, device: of(heads, length, most, device)
        return model.eval()

    def logits(self, ids):
        """[N, V] in float32."""
        with torch.no_grad():
            given = torch.tensor([ids])
            return self.open()(given, attention_mask=torch.ones_like(given), use_cache=False).logits[0].numpy()


def cached_logits(model, ids, continuation):
    """Logits that choose each token of the continuation: one prefill, then a token at a time on the cache."""
    rows, cache = [], None
    with torch.no_grad():
        for start, end in [(0, len(ids))] + [(n, n + 1) for n in range(len(ids), len(ids) + len(continuation) - 1)]:
            given = torch.tensor([(ids + continuation)[start:end]])
            kept = {field: cache} if cache is not None else {}
            # As in generate(): a recurrent step has no mask.
            masked = start == 0 or model.config.model_type not in ("mamba", "mamba2")
            out = model(given, attention_mask=torch.ones(1, end, dtype=torch.long) if masked else None, use_cache=True, **kept)
            field = "past_key_values" if model.config.model_type == "rwkv7" else "cache"
            cache = out[field]
            rows.append(out.logits[0, -1].numpy())
    return rows


def greedy(checkpoint, ids):
    """(tokens, how far each is ahead of the next best, the logits [V] that chose it), every step recomputed from the start."""
    tokens, gaps, rows = [], [], []
    for _ in range(GREEDY_STEPS):
        rows.append(checkpoint.logits(ids + tokens)[-1])
        best = np.sort(rows[-1])[::-1]
        tokens.append(int(np.argmax(rows[-1])))
        gaps.append(float(best[0] - best[1]))
        if gaps[-1] < DECISIVE:
            break
    return tokens, gaps, rows


def run_case(checkpoint, name, length):
    for attempt in range(30):
        ids = prompt(f"{name}/{length}/{attempt}", length, checkpoint.config["vocab_size"])
        continuation, gaps, rows = greedy(checkpoint, ids)
        if min(gaps) >= DECISIVE:
            break
    else:
        raise AssertionError((name, length, "no prompt with a decisive continuation"))
    logits = checkpoint.logits(ids)
    cached = cached_logits(checkpoint.open(), ids, continuation)
    positions = sorted({0, length // 2, length - 1}) if length > 2 else list(range(length))
    return {
        "input_ids": ids,
        "positions": positions,
        "logits": [logits[position] for position in positions],
        "logit_sums": logits.astype(np.float64).sum(-1),
        "greedy_next": continuation,
        "greedy_gaps": gaps,
        "cached_difference": float(max(np.abs(a - b).max() for a, b in zip(cached, rows))),
    }, logits


def changed(config, change):
    return {key: value for key, value in {**config, **change}.items() if value is not ...}


def run_cases(entry, checkpoint):
    """The cases of a model, each checked against forward.py and against cached decoding."""
    name, cases = entry["name"], []
    for length in entry["lengths"]:
        case, logits = run_case(checkpoint, name, length)
        exact = forward.logits(entry["config"], checkpoint.tensors, case["input_ids"])
        difference = float(np.abs(exact - logits).max())
        assert difference < FORWARD_TOLERANCE, (name, length, "forward.py differs by", difference)
        if entry.get("cached_equal", True) and not entry.get("cache_bug", False):
            assert case["cached_difference"] < CACHED_TOLERANCE, (name, length, "cached", case["cached_difference"])
        cases.append(case)
    print(f"{name:28s} forward {difference:.1e}  cached {max(c['cached_difference'] for c in cases):.1e}  gap {min(min(c['greedy_gaps']) for c in cases):.1e}")
    return cases


def run_model(entry):
    config = entry["config"]
    runs_as = {**config, **entry.get("runs_as", {})}
    layout = {key: entry[key] for key in ("rules", "prefix", "to_checkpoint") if key in entry}
    checkpoint = Checkpoint(runs_as, **layout)
    cases = run_cases(entry, checkpoint)
    last = cases[-1]["input_ids"]
    for change in entry["matters"]:
        other = Checkpoint(changed(runs_as, change), **{**layout, "rules": checkpoint.rules}).logits(last)
        assert np.abs(other - checkpoint.logits(last)).max() > VISIBLE, (entry["name"], change, "changes nothing")
    return {
        "name": entry["name"],
        "config": config,
        "cached_equals_recompute": entry.get("cached_equal", True),
        "tensors": checkpoint.rules,
        "cases": cases,
    }


def number(value):
    return float(f"{value:.9g}")


def text_of(made, models):
    """JSON with one line for each tensor, row of logits and list of numbers: small, and readable as a difference."""

    def flat(value):
        if isinstance(value, np.ndarray):
            return "[" + ",".join(json.dumps(number(x)) for x in value.tolist()) + "]"
        if isinstance(value, list) and value and isinstance(value[0], float):
            return flat(np.array(value))
        return json.dumps(number(value) if isinstance(value, float) else value, separators=(",", ":"))

    def rows(values):
        return "[\n" + ",\n".join("   " + flat(value) for value in values) + "\n  ]"

    def case_text(case):
        fields = [f'"{key}":' + (rows(value) if key == "logits" else flat(value)) for key, value in case.items()]
        return "  {" + ",\n   ".join(fields) + "}"

    parts = []
    for model in models:
        cases = "[\n" + ",\n".join(case_text(case) for case in model["cases"]) + "\n ]"
        fields = [f'"{key}":' + (cases if key == "cases" else rows(value) if key == "tensors" else flat(value)) for key, value in model.items()]
        parts.append("{" + ",\n ".join(fields) + "}")
    return json.dumps(made)[:-1] + ',\n"models":[\n' + ",\n".join(parts) + "\n]}\n"


def main(chosen):
    OUT.mkdir(exist_ok=True)
    for family in chosen or FAMILIES:
        models = [run_model(entry) for entry in FAMILIES[family]()]
        made = {"family": family, "transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
        (OUT / f"{family}.json").write_text(text_of(made, models))


if __name__ == "__main__":
    main(sys.argv[1:])
