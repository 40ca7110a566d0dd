"""The encoded files of one split of the corpus, and where their names are mentioned."""

import bisect
import json
import random
from collections import defaultdict
from itertools import accumulate
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from corpus import content_lines
from facts import IDENTIFIER, find_facts
from questions import ABSENT

SHORT = 130  # tokens of a short definition, at most
LANGUAGE_WEIGHTS = {"js": 1.0, "py": 1.5, "go": 1.0, "config": 1.5, "text": 0.5}


class SourceFile:
    def __init__(self, record: dict, ids: np.ndarray, newline: int, blank: np.ndarray):
        self.path, self.package, self.language = record["path"], record["package"], record["language"]
        self.lines = record["text"].split("\n")
        ends = np.flatnonzero(ids == newline)
        self.starts = np.concatenate([[0], ends + 1])  # starts[i] is the first token of line i
        self.ids, self.blank = ids, blank
        self.facts = find_facts(self.lines, self.language)
        self.short_definitions = short_definitions(self)
        self.defined = {}
        for fact in self.facts:
            if fact.kind == "def":
                self.defined.setdefault(fact.name, fact.answer)

    def tokens(self, first: int, last: int) -> np.ndarray:
        """Tokens of the lines first..last-1, each with its line break."""
        return self.ids[self.starts[first] : self.starts[last]]

    def answer(self, line: int) -> list[int]:
        """Tokens of one line without its indentation and its line break."""
        ids = self.ids[self.starts[line] : self.starts[line + 1] - 1]
        first = 0
        while first < len(ids) and self.blank[ids[first]]:
            first += 1
        return ids[first:].tolist()


def short_definitions(file: SourceFile) -> list[tuple[int, int]]:
    """Ranges of lines of short definitions about which more than the place can be asked, from the comment to the line behind the last answer."""
    spans: dict[int, tuple[int, int]] = {}
    for fact in file.facts:
        if fact.kind in ("return", "comment", "docstring"):
            definition = fact.last if fact.kind == "comment" else fact.first
            first, last = spans.get(definition, (definition, definition + 1))
            spans[definition] = (min(first, fact.first), max(last, fact.last + 1))
    # One line more closes what the answer stands in.
    wider = [(first, min(last + 1, len(file.lines))) for first, last in spans.values()]
    return [(first, last) for first, last in wider if file.starts[last] - file.starts[first] <= SHORT]


class Library:
    def __init__(self, corpus: Path, tokenizer: Tokenizer, split: str, apart_from: str | None = None):
        """Files of one split; with `apart_from`, without those of which more than a tenth of the lines occur in that other split."""
        self.tokenizer = tokenizer
        self.newline = tokenizer.encode("\n").ids[0]
        self.absent, self.end, self.pad = (tokenizer.token_to_id(token) for token in (ABSENT, "<|end|>", "<|pad|>"))
        self.asks, self.answers = tokenizer.encode("Q").ids[0], tokenizer.encode("A").ids[0]
        texts = [tokenizer.id_to_token(i).replace("Ġ", " ").replace("ĉ", "\t").replace("č", "\r") for i in range(tokenizer.get_vocab_size())]
        blank = self.blank = np.array([text.strip(" \t\r") == "" for text in texts])
        self.wordy = np.array([any(character.isalnum() for character in text) for text in texts])
        with corpus.open(encoding="utf-8") as lines:
            everything = [record for record in map(json.loads, lines) if record["split"] in (split, apart_from)]
        records = [record for record in everything if record["split"] == split]
        if apart_from is not None:
            known = set().union(*(content_lines(record["text"]) for record in everything if record["split"] == apart_from))
            own = [content_lines(record["text"]) for record in records]
            records = [record for record, found in zip(records, own) if len(found & known) <= 0.1 * len(found)]
        self.files = []
        for start in range(0, len(records), 500):
            batch = records[start : start + 500]
            for record, encoding in zip(batch, tokenizer.encode_batch([record["text"] + "\n" for record in batch])):
                self.files.append(SourceFile(record, np.array(encoding.ids, dtype=np.int16), self.newline, blank))
        self.token_count = sum(len(file.ids) for file in self.files)
        self.packages = defaultdict(list)
        for file in self.files:
            self.packages[file.package].append(file)
        per_package = {name: sum(len(file.ids) for file in files) for name, files in self.packages.items()}
        weights = [len(f.ids) / (t := per_package[f.package]) * min(t, 3000 + t**0.75) * LANGUAGE_WEIGHTS[f.language] for f in self.files]
        self.cumulative = list(accumulate(weights))
        self.words = sorted({word for file in self.files[:1500] for word in IDENTIFIER.findall(" ".join(file.lines[:60])) if 4 <= len(word) <= 9 and word.islower()})
        self.names = sorted({name for file in self.files for name in file.defined if len(name) >= 4})
        self.settings = sorted({fact.name for file in self.files for fact in file.facts if fact.kind == "config"})

    def indent(self, ids: list[int]) -> int:
        """Blank tokens that a line begins with."""
        return next((index for index, token in enumerate(ids) if not self.blank[token]), len(ids))

    def any_file(self, rng: random.Random) -> SourceFile:
        return self.files[bisect.bisect(self.cumulative, rng.random() * self.cumulative[-1])]

    def mentions(self, file: SourceFile, name: str, rng: random.Random) -> tuple[SourceFile, int] | None:
        """A line, in the same package, that mentions a name without defining it."""
        siblings = self.packages[file.package]
        for candidate in [file] + [rng.choice(siblings) for _ in range(6)]:
            lines = [i for i, line in enumerate(candidate.lines) if name in line and i != candidate.defined.get(name) and name in IDENTIFIER.findall(line)]
            if lines:
                return candidate, rng.choice(lines)
        return None
