"""Exact-match accuracy on the held-out files, by task, context length and RoPE scaling; one question alone after each context.

    python evaluate.py --corpus corpus.jsonl --model DIR [--split fresh] [--lengths 512,1024]

Writes DIR/eval.json. Every question is scored three ways from the same logits:
free         greedy decoding over the whole vocabulary
greedyLines  greedy, but at each step only tokens that continue some line of the context, indentation dropped
constrained  the line of the context that is most probable as a whole, found best first as engine/generate/bestLine.ts does
withAbsent   constrained, but <|absent|> competes with the lines; this is what the product does
and once without a model: firstMention, the first context line that holds the asked name as a whole word.
Greedy scores are computed under teacher forcing: greedy decoding produces exactly the answer if and only if every argmax is the
answer's token. The same logits settle most lines too: where no other beginning that leaves the answer's path is more probable than
the whole answer, nothing needs to be searched.
"""

import argparse
import heapq
import json
import random
import time
from collections import defaultdict
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from facts import IDENTIFIER
from model import KeyShiftForCausalLM, load_pretrained, rope_frequencies, rope_tables
from packs import Context, Library, PackBuilder, Question

SEED = 77
CONTEXTS = {512: 80, 1024: 90, 2048: 50, 4096: 30, 8192: 18}
PER_TASK = 4  # questions of one task from one context, at most
ROOM = 96  # tokens kept for the question and its answer
TASKS = ["def", "defHard", "const", "return", "import", "comment", "file", "needle", "absentUnseen", "absentUsed"]
MODES = ["free", "greedyLines", "constrained", "withAbsent", "firstMention"]
MAX_PASSES = 96  # as in engine/generate/bestLine.ts


def tasks_of(question: Question) -> list[str]:
    if question.kind == "absent":
        return ["absentUsed" if question.hard else "absentUnseen"]
    if question.kind == "def" and question.hard:
        return ["def", "defHard"]
    return ["comment" if question.kind == "docstring" else question.kind]


def choose(context: Context, rng: random.Random) -> list[tuple[str, Question]]:
    """At most PER_TASK questions of every task; defHard is a sample of its own."""
    by_task = defaultdict(list)
    for question in context.questions:
        for task in tasks_of(question):
            by_task[task].append(question)
    return [(task, question) for task in TASKS for question in rng.sample(by_task[task], min(PER_TASK, len(by_task[task])))]


def first_mention(context: Context, name: str) -> str:
    """The control without a model."""
    for line in context.lines:
        if not line.startswith("=== ") and (name in IDENTIFIER.findall(line) or (not IDENTIFIER.fullmatch(name) and name in line)):
            return line.strip()
    return ""


def candidate_lines(context: Context, library: Library) -> list[list[int]]:
    """Every different line of the context without its indentation, each with its line break."""
    texts = sorted({line.strip() for line in context.lines} - {""})
    return [encoding.ids + [library.newline] for encoding in library.tokenizer.encode_batch(texts)]


def greedy_exact(logits: Tensor, answer: list[int], lines: list[list[int]]) -> bool:
    """Whether greedy decoding among the continuations of `lines` gives `answer`; logits [len(answer), V]."""
    for step, token in enumerate(answer):
        choices = sorted({line[step] for line in lines if len(line) > step})
        if token not in choices or choices[int(logits[step, choices].argmax())] != token:
            return False
        lines = [line for line in lines if len(line) > step and line[step] == token]
    return True


class Reading:
    """A context in the cache of a model; sequences are run behind it without being kept."""

    @torch.no_grad()
    def __init__(self, model: KeyShiftForCausalLM, context: list[int], rope: dict, room: int):
        self.model, self.length = model, len(context)
        self.cos, self.sin = rope_tables(*rope_frequencies(model.config.head_dim, model.config.rope_theta, rope), self.length + room)
        _, self.caches = model.extend(torch.tensor([context]), self.cos[: self.length], self.sin[: self.length], None, None)

    @torch.no_grad()
    def logits(self, rows: list[tuple[list[int], list[int]]]) -> list[Tensor]:
        """For each (prompt, answer), the logits [len(answer), V] that predict the answer behind the context and the prompt."""
        longest = max(len(prompt) + len(answer) for prompt, answer in rows)
        ids = torch.ones(len(rows), longest, dtype=torch.long)
        for row, (prompt, answer) in enumerate(rows):
            ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        mask = torch.cat([torch.ones(longest, self.length, dtype=torch.bool), torch.ones(longest, longest, dtype=torch.bool).tril()], dim=1)
        cos, sin = self.cos[self.length : self.length + longest], self.sin[self.length : self.length + longest]
        states, _ = self.model.extend(ids, cos, sin, self.caches, mask)
        return [self.model.head(states[row, len(p) - 1 : len(p) + len(a) - 1]) for row, (p, a) in enumerate(rows)]


def is_most_probable(reading: Reading, prompt: list[int], answer: list[int], logits: Tensor, lines: list[list[int]], absent: int | None) -> bool:
    """Whether the line that is most probable as a whole is the answer; `logits` [len(answer), V] predict the answer."""
    whole = [[absent]] if absent is not None else []
    whole += lines
    if answer[0] == absent:
        answer = answer[:1]
    if answer not in whole:
        return False
    target = sum(float(row.log_softmax(-1)[token]) for row, token in zip(logits.double(), answer))

    def continued(beginning: list[int], row: Tensor, log_probability: float, skip: int | None) -> list[tuple[float, list[int]]]:
        choices = {line[len(beginning)] for line in whole if len(line) > len(beginning) and line[: len(beginning)] == beginning} - {skip}
        scores = row.double().log_softmax(-1)
        return [(-(log_probability + float(scores[token])), beginning + [token]) for token in choices]

    # Everything that leaves the answer's path; the rest of the search is only needed for what is more probable than the answer.
    heap, so_far = [], 0.0
    for step, token in enumerate(answer):
        heap += continued(answer[:step], logits[step], so_far, token)
        so_far += float(logits[step].double().log_softmax(-1)[token])
    heap = [entry for entry in heap if -entry[0] > target]
    heapq.heapify(heap)
    for _ in range(MAX_PASSES):
        if not heap:
            return True
        cost, beginning = heapq.heappop(heap)
        if beginning in whole:
            return False
        (row,) = reading.logits([(prompt + beginning, [0])])
        for entry in continued(beginning, row[0], -cost, None):
            if -entry[0] > target:
                heapq.heappush(heap, entry)
    return False


def build(library: Library, length: int) -> list[tuple[Context, list[tuple[str, Question]], list]]:
    """Contexts of one length with their questions and encoded turns; the same for every scaling."""
    cases = []
    for index in range(CONTEXTS[length]):
        rng = random.Random(f"{SEED}:{length}:{index}")
        builder = PackBuilder(library, rng)
        context = builder.context(length - ROOM, needles=1)
        chosen = choose(context, rng)
        if chosen:
            cases.append((context, chosen, [builder.turn(question) for _, question in chosen]))
    return cases


def score(model: KeyShiftForCausalLM, library: Library, cases: list, rope: dict) -> dict[str, dict[str, list[bool]]]:
    results = defaultdict(lambda: defaultdict(list))
    for context, chosen, turns in cases:
        lines = candidate_lines(context, library)
        reading = Reading(model, context.ids, rope, room=2 * ROOM)
        for (task, question), (prompt, answer), logits in zip(chosen, turns, reading.logits(turns)):
            text = library.tokenizer.decode(question.answer)
            results[task]["free"].append(logits.argmax(-1).tolist() == answer)
            if question.kind != "absent":
                results[task]["greedyLines"].append(greedy_exact(logits, answer, lines))
                results[task]["constrained"].append(is_most_probable(reading, prompt, answer, logits, lines, None))
                results[task]["firstMention"].append(first_mention(context, question.name) == text)
            results[task]["withAbsent"].append(is_most_probable(reading, prompt, answer, logits, lines, library.absent))
    return results


def ropes(length: int, trained: int, theta: float) -> dict[str, dict]:
    settings = {"none": {"rope_type": "default", "rope_theta": theta}}
    if length > trained:
        settings["yarn"] = {"rope_type": "yarn", "rope_theta": theta, "factor": length / trained, "original_max_position_embeddings": trained}
    return settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--lengths", default=",".join(map(str, CONTEXTS)))
    parser.add_argument("--split", choices=["heldout", "fresh"], default="fresh")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    model = load_pretrained(arguments.model)
    trained = json.loads((arguments.model / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    library = Library(arguments.corpus, tokenizer, arguments.split)
    cells = []
    for length in map(int, arguments.lengths.split(",")):
        cases = build(library, length)
        for name, rope in ropes(length, trained, model.config.rope_theta).items():
            started = time.monotonic()
            results = score(model, library, cases, rope)
            for task in TASKS:
                rates = {mode: round(sum(hits) / len(hits), 3) for mode in MODES if (hits := results[task][mode])}
                cells.append({"length": length, "rope": name, "task": task, "n": len(results[task]["free"]), **rates})
                print(cells[-1], flush=True)
            print(f"{length} {name}: {time.monotonic() - started:.0f} s", flush=True)
    report = {"split": arguments.split, "seed": SEED, "trainedLength": trained, "files": len(library.files), "contexts": CONTEXTS, "arithmetic": "float32 on the exported float16 weights", "cells": cells}
    (arguments.model / "eval.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
