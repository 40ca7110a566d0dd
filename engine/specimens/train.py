"""Train one specimen from scratch. The schedule is counted in tokens, so a run does not depend on the speed of the machine.

    python train.py --model rope|alibi|mamba|rwkv7|ask --corpus corpus.jsonl --tokenizer tokenizer.json --out RUN [--cycles N] [--threads N]
                    [--grow DIR | --begin DIR] [--arithmetic bfloat16|float32]

The siblings (all but `ask`) share one recipe and see the same packs in the same order. RUN receives `checkpoint.pt` every two minutes and at
the end, `cycle-N.pt` behind every cycle, and `log.jsonl` with one line of measurements per evaluation. A run goes on from its checkpoint.
"""

import argparse
import json
import os
import random
import time
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from library import Library
from links import Probes
from model import LanguageModel, Positions, apply, parameter_count
from packs import KINDS, KIND_WEIGHTS, Batch, Mixture, PackBuilder
from scans import set_threads
from siblings import CONFIGS, build, grow


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate."""

    phases: tuple  # (tokens in a pack, tokens trained)
    peak: float  # of the rates in Recipe
    constant_share: float
    mixture: Mixture = Mixture()
    links: float = 0.0  # weight of the loss of the probes (links.py)

    @property
    def total_tokens(self) -> int:
        return sum(tokens for _, tokens in self.phases)

    def length_at(self, tokens: int) -> int:
        for length, share in self.phases:
            if tokens < share:
                return length
            tokens -= share
        return self.phases[-1][0]


@dataclass(frozen=True)
class Recipe:
    cycles: tuple
    seed: int = 20
    batch_tokens: int = 4096
    scored_share: float = 0.40  # of the positions of a batch; every answer token first, then a sample of the others
    other_weight: float = 0.1  # of a scored token that is no answer token, which weighs 1
    adam_lr: float = 3e-3
    adam_betas: tuple = (0.9, 0.95)
    muon_lr: float = 0.021
    muon_momentum: float = 0.95
    muon_decay: float = 0.02 / 7  # times the Muon rate: 0.02 times the Adam rate
    warmup_steps: int = 60
    final_lr_share: float = 0.03
    clip_norm: float = 1.0

    @property
    def total_tokens(self) -> int:
        return sum(cycle.total_tokens for cycle in self.cycles)

    def cycle_at(self, tokens: int) -> tuple[Cycle, int]:
        """The cycle that token belongs to, and how many tokens of it are behind."""
        for cycle in self.cycles:
            if tokens < cycle.total_tokens or cycle is self.cycles[-1]:
                return cycle, tokens
            tokens -= cycle.total_tokens
        raise ValueError("a recipe without cycles")

    def length_at(self, tokens: int) -> int:
        cycle, within = self.cycle_at(tokens)
        return cycle.length_at(within)

    def lr_factor(self, step: int, tokens: int) -> float:
        cycle, within = self.cycle_at(tokens)
        progress = within / cycle.total_tokens
        decay = 1.0 if progress < cycle.constant_share else max(self.final_lr_share, (1 - progress) / (1 - cycle.constant_share))
        return min(1.0, (step + 1) / self.warmup_steps) * cycle.peak * decay


SIBLINGS = Recipe(
    cycles=(
        Cycle(((256, 1_250_000), (512, 1_750_000)), peak=1.0, constant_share=0.45),
        Cycle(((512, 2_500_000),), peak=0.7, constant_share=0.3),
        Cycle(((512, 6_000_000),), peak=0.5, constant_share=0.2),
    )
)
# More of what the first cycle left weak: answers around a definition, and imports. In more wordings.
AROUND = Mixture(
    kinds={
        **KIND_WEIGHTS, "return": 0.45, "comment": 0.4, "docstring": 0.16, "import": 0.25, "caller": 0.08, "file": 0.15,
        "needleKeys": 0.25, "needleValues": 0.15, "needleQueries": 0.15, "variables": 0.1,
    },
    focus={"return": 5.0, "comment": 5.0, "docstring": 3.0, "import": 2.0, "const": 2.0, "config": 1.5},
    needles=0.2,
    questions=(0.12, 0.55),
    definition_first=0.3,
    wordings=2,
)  # fmt: skip
# Where a guess is worth nothing: half of the packs are short definitions side by side. Measured and not shipped (learning.json): returns and comments
# get better, and signatures, constants, imports and files worse.
NAMED = Mixture(
    kinds={
        **AROUND.kinds, "def": 0.3, "const": 0.15, "return": 0.6, "comment": 0.6, "docstring": 0.25, "file": 0.45, "import": 0.3,
        "needleKeys": 0.3, "needleValues": 0.1, "needleQueries": 0.1,
    },
    focus=AROUND.focus,
    needles=0.15,
    questions=(0.2, 0.6),
    definition_first=0.15,
    wordings=2,
    snippets=0.5,
)  # fmt: skip
# Behind the 29 M tokens of the model it grows from.
ASK = Recipe(
    cycles=(
        Cycle(((512, 1_500_000), (1024, 2_700_000), (2048, 1_500_000)), peak=0.6, constant_share=0.35),
        Cycle(((1024, 5_000_000), (2048, 3_000_000)), peak=0.6, constant_share=0.4, mixture=AROUND),
        Cycle(((512, 2_500_000), (1024, 4_500_000), (2048, 5_500_000)), peak=0.8, constant_share=0.5, mixture=NAMED, links=0.3),
    )
)


def recipe_of(name: str) -> Recipe:
    return ASK if name == "ask" else SIBLINGS


def orthogonalize(update: Tensor) -> Tensor:
    """Five Newton-Schulz steps towards the nearest matrix with equal singular values."""
    x = update.bfloat16()
    transposed = x.shape[0] > x.shape[1]
    if transposed:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if transposed else x).float()


class Muon:
    """Momentum with orthogonalised updates, for the matrices of the blocks."""

    def __init__(self, parameters: list[torch.nn.Parameter], momentum: float, decay: float):
        self.parameters, self.momentum, self.decay = parameters, momentum, decay
        self.buffers = [torch.zeros_like(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        for parameter, buffer in zip(self.parameters, self.buffers):
            buffer.lerp_(parameter.grad, 1 - self.momentum)
            update = orthogonalize(parameter.grad.lerp(buffer, self.momentum))
            parameter.mul_(1 - lr * self.decay)
            parameter.add_(update, alpha=-lr * max(1, parameter.shape[0] / parameter.shape[1]) ** 0.5)
            parameter.grad = None


class Trainer:
    def __init__(self, recipe: Recipe, model: LanguageModel, arithmetic: torch.dtype):
        self.recipe, self.model, self.arithmetic = recipe, model, arithmetic
        named = list(model.named_parameters())
        self.muon = Muon([p for name, p in named if model.is_matrix(name)], recipe.muon_momentum, recipe.muon_decay)
        others = [p for name, p in named if not model.is_matrix(name)]
        self.probes = Probes(model.config.hidden_size) if any(cycle.links for cycle in recipe.cycles) else None
        others += self.probes.parameters() if self.probes else []
        self.adam = torch.optim.AdamW(others, lr=recipe.adam_lr, betas=recipe.adam_betas, weight_decay=0.0, fused=True)
        model.compiled = torch.compile(apply, dynamic=False)
        self.found: dict[str, float] = {}  # accuracy of the probes in the last step, by slot
        self.step_count = self.tokens = self.warm_from = 0  # warm_from: the step that the moments of the optimisers begin with
        self.cpu_seconds = 0.0

    def loss(self, ids: Tensor, where: Positions, positions: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """ids [B, T]; positions [N] into the flattened B*T; targets and weights [N]."""
        states = self.model.hidden(ids, where, self.arithmetic).flatten(0, 1)[positions]
        losses = F.cross_entropy(self.model.head(states).float(), targets, reduction="none")
        return (losses * weights).sum() / weights.sum()

    def scored(self, kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Exactly `scored_share` of the positions: all that predict an answer token, then others drawn at random."""
        count = int(len(kinds) * self.recipe.scored_share)
        answers = np.flatnonzero(kinds > 0)[:count]
        others = rng.permutation(np.flatnonzero(kinds == 0))[: count - len(answers)]
        return np.concatenate([answers, others])

    def step(self, library: Library) -> float:
        recipe = self.recipe
        length = recipe.length_at(self.tokens)
        cycle = recipe.cycle_at(self.tokens)[0]
        builder = PackBuilder(library, random.Random(f"{recipe.seed}:{self.step_count}"), cycle.mixture)
        ids, kinds, links = builder.batch(recipe.batch_tokens // length, length)
        kinds = kinds[:, 1:].reshape(-1)
        rng = np.random.default_rng([recipe.seed, self.step_count])
        positions = self.scored(kinds, rng)
        weights = np.where(kinds[positions] > 0, 1.0, recipe.other_weight).astype(np.float32)
        targets = ids[:, 1:].reshape(-1)[positions]
        where = self.model.positions(length, self.arithmetic)
        with autocast(self.arithmetic):
            loss = self.loss(torch.from_numpy(ids[:, :-1]), where, *map(torch.from_numpy, (positions, targets, weights)))
            whole = loss
            if self.probes and cycle.links:
                sampled = torch.from_numpy(rng.permutation(links))
                linked, self.found = self.probes(self.model.middle.flatten(0, 1), sampled, self.model.table.weight)
                whole = loss + cycle.links * linked
        whole.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        factor = recipe.lr_factor(self.step_count - self.warm_from, self.tokens)
        self.adam.param_groups[0]["lr"] = recipe.adam_lr * factor
        self.muon.step(recipe.muon_lr * factor)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        self.step_count += 1
        self.tokens += recipe.batch_tokens
        return loss.item()

    def save(self, path: Path) -> None:
        state = {
            "model": self.model.state_dict(), "adam": self.adam.state_dict(), "muon": self.muon.buffers, "recipe": asdict(self.recipe),
            "probes": self.probes.state_dict() if self.probes else {},
            "step": self.step_count, "warm_from": self.warm_from, "tokens": self.tokens, "cpu_seconds": self.cpu_seconds,
        }  # fmt: skip
        torch.save(state, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)

    def begin(self, folder: Path) -> None:
        """Go on behind an exported model; its optimisers' moments are not in it and begin anew, with a rate that rises again."""
        self.model.load_state_dict({name: tensor.float() for name, tensor in load_file(str(folder / "model.safetensors")).items()})
        run = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["run"]
        self.step_count, self.tokens, self.cpu_seconds = run["steps"], run["tokens"], float(run["cpuSeconds"])
        self.warm_from = self.step_count

    def restore(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.adam.load_state_dict(state["adam"])
        if self.probes:
            self.probes.load_state_dict(state["probes"])
        for buffer, saved in zip(self.muon.buffers, state["muon"]):
            buffer.copy_(saved)
        self.step_count, self.tokens, self.cpu_seconds = state["step"], state["tokens"], state["cpu_seconds"]
        self.warm_from = state["warm_from"]


def autocast(arithmetic: torch.dtype) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=arithmetic == torch.bfloat16)


@torch.no_grad()
def measure(model: LanguageModel, packs: dict[int, Batch], arithmetic: torch.dtype) -> dict:
    """Teacher-forced accuracy on held-out packs: share of answer tokens, and per kind the share of answers without an error."""
    report = {}
    for length, (ids, kinds, _) in packs.items():
        with autocast(arithmetic):
            states = model.hidden(torch.from_numpy(ids[:, :-1]), model.positions(length, arithmetic), arithmetic)
            rows, columns = np.nonzero(kinds[:, 1:])
            right = model.head(states[rows, columns]).argmax(-1).numpy() == ids[:, 1:][rows, columns]
        kind = kinds[:, 1:][rows, columns]
        starts = np.flatnonzero((np.diff(rows, prepend=-1) != 0) | (np.diff(columns, prepend=-2) != 1))
        exact = np.logical_and.reduceat(right, starts)
        by_kind = {KINDS[k - 1]: round(float(exact[kind[starts] == k].mean()), 3) for k in sorted(set(kind[starts]))}
        report[length] = {"tokens": round(float(right.mean()), 4), "exact": round(float(exact.mean()), 3), **by_kind}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(CONFIGS), required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--grow", type=Path, help="an exported transformer of fewer layers whose weights `ask` begins with")
    start.add_argument("--begin", type=Path, help="an exported model of this kind behind whose tokens the training goes on, without the moments of its optimisers")
    parser.add_argument("--cycles", type=int, help="stop behind this many cycles of the recipe")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--arithmetic", choices=["bfloat16", "float32"], default="bfloat16", help="float32 is faster where the processor has no AMX")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.out / "checkpoint.pt"

    recipe = recipe_of(arguments.model)
    ends = list(accumulate(cycle.total_tokens for cycle in recipe.cycles))[: arguments.cycles]
    torch.set_num_threads(arguments.threads)
    set_threads(arguments.threads)
    torch.manual_seed(recipe.seed)
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer))
    model = build(CONFIGS[arguments.model])
    model.initialize()
    if arguments.grow:
        grow(model, arguments.grow)
    arithmetic = torch.bfloat16 if arguments.arithmetic == "bfloat16" else torch.float32
    trainer = Trainer(recipe, model, arithmetic)
    if arguments.begin:
        trainer.begin(arguments.begin)
    if checkpoint.exists():
        trainer.restore(checkpoint)
    builder = PackBuilder(Library(arguments.corpus, tokenizer, "heldout"), random.Random(recipe.seed + 1))
    heldout = {length: builder.batch(max(8, 16384 // length), length) for length in (256, 512, 1024)}
    library = Library(arguments.corpus, tokenizer, "train")
    print(arguments.model, "parameters", parameter_count(model), "training tokens", library.token_count, "at", trainer.tokens, flush=True)

    saved = measured = time.monotonic()
    average = None
    while trainer.tokens < ends[-1]:
        started = time.process_time()
        loss = trainer.step(library)
        trainer.cpu_seconds += time.process_time() - started
        average = loss if average is None else 0.98 * average + 0.02 * loss
        ended = next((number for number, end in enumerate(ends, 1) if end <= trainer.tokens < end + recipe.batch_tokens), None)
        if ended or time.monotonic() - measured > 120:
            entry = {"cpuSeconds": round(trainer.cpu_seconds), "tokens": trainer.tokens, "step": trainer.step_count, "loss": round(average, 4)}
            links = {"links": trainer.found} if trainer.found else {}
            line = json.dumps({**entry, **links, "length": recipe.length_at(trainer.tokens - 1), "heldout": measure(model, heldout, arithmetic)})
            with (arguments.out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(line + "\n")
            print(line, flush=True)
            measured = time.monotonic()
        if ended or time.monotonic() - saved > 100:
            trainer.save(checkpoint)
            saved = time.monotonic()
        if ended:
            trainer.save(arguments.out / f"cycle-{ended}.pt")


if __name__ == "__main__":
    main()
