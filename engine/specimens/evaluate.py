"""Exact match by task, context length and position scaling; one question alone behind each context.

    python evaluate.py --corpus corpus.jsonl --model DIR [--split fresh] [--multiples 1,2,4,8,16] [--best-line] [--out eval.json]

Contexts are multiples of the trained length. A RoPE model is run with every scaling beyond it (none, linear, ntk, yarn), each with and without
YaRN's attention temperature; the others as they are. How answers are judged: reading.py. Beside the model stands `search`, the control
without one: the first line that holds the asked name, all of them where all are asked for. With --unseen every question is also asked in
wordings that no training saw, at the trained length.
"""

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch
from tokenizers import Tokenizer

import needles
import rope
from asking import Asker
from facts import IDENTIFIER
from library import Library
from model import LanguageModel, load_pretrained
from packs import Context, PackBuilder, Question
from reading import Lines, Reading, Row, judge
from scans import set_threads

SEED = 77
CONTEXTS = {512: 80, 1024: 60, 2048: 40, 4096: 24, 8192: 14, 16384: 8, 32768: 5}
PER_TASK = 3  # questions of one task from one context, at most
ROOM = 96  # tokens kept for the question and its answer
SCALINGS = ["none", "linear", "ntk", "yarn"]
TASKS = [
    "def", "defHard", "signature", "const", "return", "import", "caller", "comment", "config", "file",
    *needles.KINDS, "absentUnseen", "absentUsed",
]  # fmt: skip
MODES = ["free", "lines", "refusable", "bestLine", "asked", "refused", "search"]


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


def search(context: Context, question: Question) -> str:
    """The control without a model, in the form of an answer."""
    names = question.name.replace(" and ", ", ").split(", ") if question.kind == "needleQueries" else [question.name]
    found = []
    for name in names:
        lines = [line.strip() for line in context.lines if not line.startswith("=== ") and holds(line, name)]
        found += lines if question.kind in ("needleValues", "variables") else lines[:1]
    return "\nA: ".join(found)


def holds(line: str, name: str) -> bool:
    return name in IDENTIFIER.findall(line) if IDENTIFIER.fullmatch(name) else name in line


class Case:
    """One context with its questions, encoded in wordings of the training and in unseen ones; the same for every model and scaling."""

    def __init__(self, library: Library, length: int, index: int):
        self.rng = random.Random(f"{SEED}:{length}:{index}")
        builder = PackBuilder(library, self.rng)
        planted = self.planted(library, length, index)
        self.planted_lines = {line for fact in planted for line in fact.lines}
        self.context = builder.context(length - ROOM, planted)
        self.chosen = choose(self.context, self.rng)
        self.rows = {
            wording: [builder.turn(question, wording == "unseen") for _, question in self.chosen] for wording in ("seen", "unseen")
        }
        self.lines = Lines.of(self.context, library)
        self.found = [
            search(self.context, question) == library.tokenizer.decode(question.answer) for _, question in self.chosen
        ]

    def planted(self, library: Library, length: int, index: int) -> list[needles.Planted]:
        """One kind of needle in a short context, every kind in a long one."""
        kinds = [needles.KINDS[index % len(needles.KINDS)]] if length <= 1024 else needles.KINDS
        return [fact for kind in kinds for fact in needles.plant(kind, 4, library.words, self.rng)]


def score(model: LanguageModel, library: Library, cases: list[Case], wording: str, best: bool, asked: bool) -> dict[str, dict[str, list[bool]]]:
    results = defaultdict(lambda: defaultdict(list))
    for case in cases:
        rows: list[Row] = case.rows[wording]
        reading = Reading(model, case.context.ids, room=4 * ROOM)
        asker = Asker(reading, case.context, case.lines, library, case.planted_lines)
        for (task, question), row, logits, found in zip(case.chosen, rows, reading.logits(rows), case.found):
            judged = judge(reading, case.lines, library, question, row, logits, best)
            right = asker.is_right(question, row) if asked else None
            if right is not None:
                judged["asked"] = right
            if question.kind != "absent":
                judged["search"] = found
            for mode, hit in judged.items():
                results[task][mode].append(hit)
    return results


def settings_of(model: LanguageModel, multiple: float, trained: int, wanted: set[str] | None) -> list[tuple[str, bool, dict]]:
    """(scaling, whether the temperature is applied, Hugging Face's keys); one setting where nothing can be scaled."""
    if not getattr(model, "rotates", False):
        return [("none", False, {})]
    if multiple <= 1:
        return [("none", False, {"rope_type": "default"})]
    settings = []
    for kind in SCALINGS:
        for hot in (False, True):
            if wanted is not None and kind + ("+temperature" if hot else "") not in wanted:
                continue
            keys = {"rope_type": "default" if kind == "none" else kind, "factor": multiple, "original_max_position_embeddings": trained}
            settings.append((kind, hot, {**keys, "attention_factor": rope.temperature(multiple) if hot else 1.0}))
    return settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--multiples", default="1,2,4,8,16", help="context lengths in trained lengths")
    parser.add_argument("--split", choices=["heldout", "fresh"], default="fresh")
    parser.add_argument("--apart-from-heldout", action="store_true", help="drop files that share lines with the held-out split too: for a model whose first weights were trained on another split")
    parser.add_argument("--best-line", action="store_true", help="also search for the line that is most probable as a whole (slow)")
    parser.add_argument("--asked", action="store_true", help="also ask as the extension does (asking.py)")
    parser.add_argument("--unseen", action="store_true", help="also ask in wordings that no training saw, at the trained length")
    parser.add_argument("--contexts", type=float, default=1.0, help="share of the contexts, for a quick look")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="where the report goes; MODEL/eval.json by default")
    parser.add_argument("--settings", help="only these beyond the trained length, e.g. none,yarn+temperature")
    arguments = parser.parse_args()
    wanted = set(arguments.settings.split(",")) if arguments.settings else None
    torch.set_num_threads(arguments.threads)
    set_threads(arguments.threads)
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    model = load_pretrained(arguments.model)
    trained = json.loads((arguments.model / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    library = Library(arguments.corpus, tokenizer, arguments.split, "heldout" if arguments.apart_from_heldout else None)
    cells = []
    for multiple in map(int, arguments.multiples.split(",")):
        length = multiple * trained
        cases = [Case(library, length, index) for index in range(max(1, round(CONTEXTS[length] * arguments.contexts)))]
        for scaling, hot, keys in settings_of(model, multiple, trained, wanted):
            model.rope = keys
            for wording in ("seen", "unseen") if arguments.unseen and multiple == 1 else ("seen",):
                started = time.monotonic()
                results = score(model, library, cases, wording, arguments.best_line, arguments.asked)
                setting = {"length": length, "multiple": multiple, "scaling": scaling, "temperature": hot, "wording": wording}
                for task in TASKS:
                    if results[task]:
                        rates = {mode: round(sum(hits) / len(hits), 3) for mode in MODES if (hits := results[task][mode])}
                        cells.append({**setting, "task": task, "n": len(results[task]["free"]), **rates})
                        print(cells[-1], flush=True)
                print(f"{setting}: {time.monotonic() - started:.0f} s", flush=True)
    report = {"split": arguments.split, "seed": SEED, "trainedLength": trained, "files": len(library.files), "cells": cells}
    report["command"] = " ".join(["python engine/specimens/evaluate.py", *sys.argv[1:]])
    out = arguments.out or arguments.model / "eval.json"
    out.write_text(json.dumps({**report, "arithmetic": "float32 on the exported float16 weights"}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
