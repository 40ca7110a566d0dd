"""Training and evaluation packs: lines of several files under `=== path ===` headers, then questions with verbatim answers."""

import bisect
import json
import random
from collections import Counter, defaultdict
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from facts import IDENTIFIER, Fact, find_facts, may_define
from questions import ABSENT, ask

KIND_WEIGHTS = {"def": 0.30, "const": 0.12, "return": 0.16, "import": 0.12, "comment": 0.12, "docstring": 0.03, "file": 0.09, "needle": 0.06}
KINDS = [*KIND_WEIGHTS, "absent"]
LANGUAGE_WEIGHTS = {"js": 1.0, "py": 3.0, "go": 1.0}
ABSENT_SHARE = 0.13
HARD_WEIGHT = 4.0
MAX_ANSWER = 56
MAX_HEADER = 40
FOLDERS = ["src", "lib", "app", "server", "client", "packages/core/src", "internal", "tools", "test", "src/util"]


class SourceFile:
    def __init__(self, record: dict, ids: np.ndarray, newline: int, blank: np.ndarray):
        self.path, self.package, self.language = record["path"], record["package"], record["language"]
        self.lines = record["text"].split("\n")
        ends = np.flatnonzero(ids == newline)
        self.starts = np.concatenate([[0], ends + 1])  # starts[i] is the first token of line i
        self.ids, self.blank = ids, blank
        self.facts = find_facts(self.lines, self.language)
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


class Piece(NamedTuple):
    """Ranges of lines of one file, shown under one header."""

    file: SourceFile
    ranges: list[tuple[int, int]]


class Question(NamedTuple):
    kind: str
    name: str
    answer: list[int]  # without the final line break
    hard: bool  # the answer is not the first line that mentions the name


class Context(NamedTuple):
    ids: list[int]
    lines: list[str]
    questions: list[Question]


class Library:
    """The encoded files of one split, with an index of where names defined in a package are mentioned elsewhere."""

    def __init__(self, corpus: Path, tokenizer: Tokenizer, split: str):
        self.tokenizer = tokenizer
        self.newline = tokenizer.encode("\n").ids[0]
        self.absent = tokenizer.token_to_id(ABSENT)
        texts = [tokenizer.id_to_token(i).replace("Ġ", " ").replace("ĉ", "\t").replace("č", "\r") for i in range(tokenizer.get_vocab_size())]
        blank = np.array([text.strip(" \t\r") == "" for text in texts])
        with corpus.open(encoding="utf-8") as lines:
            records = [record for record in map(json.loads, lines) if record["split"] == split]
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


class PackBuilder:
    def __init__(self, library: Library, rng: random.Random):
        self.library, self.rng = library, rng

    def encode(self, text: str) -> list[int]:
        return self.library.tokenizer.encode(text).ids

    def path_of(self, file: SourceFile) -> str:
        """The file's path as some repository could have it."""
        parts = file.path.split("/")
        style = self.rng.random()
        if style < 0.35:
            return file.path
        if style < 0.7 and len(parts) > 1:
            return "/".join(parts[1:])
        return f"{self.rng.choice(FOLDERS)}/{'/'.join(parts[-self.rng.randint(1, 2):])}"

    def window(self, file: SourceFile, budget: int, line: int | None = None) -> tuple[int, int]:
        """Lines around one line (anywhere in the window), at most `budget` tokens."""
        count = len(file.lines)
        if file.starts[count] <= budget:
            return 0, count
        line = self.rng.randrange(count) if line is None else line
        before = self.rng.random() * budget * 0.9
        first = min(line, int(np.searchsorted(file.starts, max(0, file.starts[line] - before))))
        last = int(np.searchsorted(file.starts, file.starts[first] + budget, "right")) - 1
        if last >= count:
            last = count
            first = min(line, int(np.searchsorted(file.starts, max(0, file.starts[count] - budget))))
        return first, max(last, first)

    def focus(self, file: SourceFile) -> Fact | None:
        """A fact of a kind chosen first, so that rare kinds are not rare."""
        if not file.facts:
            return None
        kind = self.rng.choice(sorted({fact.kind for fact in file.facts}))
        return self.rng.choice([fact for fact in file.facts if fact.kind == kind])

    def usage_first(self, budget: int) -> list[Piece]:
        """A window around a use of a name, then one around its definition: one file with a gap, or two files."""
        file = self.library.any_file(self.rng)
        definitions = [fact for fact in file.facts if fact.kind == "def" and len(fact.name) > 2]
        if not definitions:
            return []
        fact = self.rng.choice(definitions)
        found = self.library.mentions(file, fact.name, self.rng)
        if not found:
            return []
        user, line = found
        share = int(budget * self.rng.uniform(0.25, 0.6))
        use, definition = self.window(user, share, line), self.window(file, budget - share, fact.answer)
        if user is not file:
            return [Piece(user, [use]), Piece(file, [definition])]
        if use[1] <= definition[0] or definition[1] <= use[0]:
            return [Piece(file, [use, definition])]
        return [Piece(file, [(min(use[0], definition[0]), max(use[1], definition[1]))])]

    def pieces(self, budget: int) -> list[Piece]:
        """Files and windows that together fill about `budget` tokens, in the order shown."""
        rng, chosen, used = self.rng, [], 0
        if rng.random() < 0.5:
            chosen = self.usage_first(int(budget * rng.uniform(0.4, 0.95)))
            used = sum(self.size(piece) for piece in chosen)
            if used > budget:
                chosen, used = [], 0
        near = chosen[0].file if chosen and rng.random() < 0.5 else None
        for _ in range(200):
            left = budget - used
            if left < 60:
                break
            wanted = left if left < 140 or rng.random() < 0.15 else rng.randint(80, max(100, min(left, max(budget // 3, 160))))
            file = rng.choice(self.library.packages[near.package]) if near and rng.random() < 0.7 else self.library.any_file(rng)
            if any(piece.file is file for piece in chosen):
                continue
            fact = self.focus(file) if rng.random() < 0.85 else None
            piece = Piece(file, [self.window(file, max(wanted - 20, 40), fact.answer if fact else None)])
            if piece.ranges[0][1] - piece.ranges[0][0] < 2 or self.size(piece) > left:
                continue
            used += self.size(piece)
            chosen.insert(rng.choice([0, len(chosen)]), piece)
            near = file if rng.random() < 0.5 else near
        return chosen

    def size(self, piece: Piece) -> int:
        return 20 + sum(len(piece.file.tokens(*span)) for span in piece.ranges)

    def needle(self) -> tuple[str, str]:
        words = self.library.words
        key = self.rng.choice(words) + (f"-{self.rng.choice(words)}" if self.rng.random() < 0.7 else "")
        opening = "One of the special magic numbers" if self.rng.random() < 0.5 else "The special magic number"
        return key, f"{opening} for {key} is: {self.rng.randrange(10**5, 10**7)}."

    def context(self, budget: int, needles: int = 0) -> Context:
        """At most `budget` tokens of files and every question they answer with exactly one line."""
        planted = dict(self.needle() for _ in range(needles))
        budget -= sum(len(self.encode(text)) + 1 for text in planted.values())
        blocks, facts = [], []  # blocks: (token ids with line break, text)
        paths = set()
        for piece in self.pieces(budget):
            path = self.path_of(piece.file)
            header = f"=== {path} ==="
            header_ids = self.encode(header)
            if path in paths or len(header_ids) > MAX_HEADER:
                continue
            paths.add(path)
            shown = []
            for first, last in piece.ranges:
                shown += range(first, last)
            present = set(shown)
            file = piece.file
            blocks.append((header_ids + [self.library.newline], header))
            blocks += [(file.tokens(line, line + 1).tolist(), file.lines[line]) for line in shown]
            for fact in file.facts:
                if all(line in present for line in range(fact.first, fact.last + 1)):
                    facts.append((fact.kind, fact.name, file.answer(fact.answer), file.lines[fact.answer].strip()))
                    if fact.kind == "def":
                        facts.append(("file", fact.name, header_ids, header))
        for key, text in planted.items():
            blocks.insert(self.rng.randint(0, len(blocks)), (self.encode(text) + [self.library.newline], text))
            facts.append(("needle", key, self.encode(text), text))
        ids = [token for block, _ in blocks for token in block]
        lines = [text for _, text in blocks]
        return Context(ids, lines, self.questions(lines, facts))

    def questions(self, lines: list[str], facts: list[tuple]) -> list[Question]:
        """Facts with one answer in this context, and names that have none."""
        rng = self.rng
        count = Counter((kind, name) for kind, name, _, _ in facts)
        found = [f for f in facts if count[f[0], f[1]] == 1 and count["def", f[1]] <= 1 and len(f[2]) <= MAX_ANSWER]
        first_mention, mentions = {}, defaultdict(list)
        for index, line in enumerate(lines):
            for name in set(IDENTIFIER.findall(line)) if not line.startswith("=== ") else ():
                first_mention.setdefault(name, line.strip())
                mentions[name].append(line)
        questions = [Question(kind, name, answer, first_mention.get(name) != text) for kind, name, answer, text in found]
        known = {kind: {name for k, name, _, _ in facts if k == kind} for kind in KIND_WEIGHTS}
        everything = "\n".join(lines)
        for kind in ("def", "def", "const", "return", "import", "comment", "file"):
            name = rng.choice(self.library.names)
            if name not in everything:
                questions.append(Question("absent", f"{kind}:{name}", [self.library.absent], False))
        used = [name for name in sorted(mentions) if len(name) >= 4 and name not in known["def"] and name not in known["const"]]
        for name in rng.sample(used, min(6, len(used))):
            if not any(may_define(line, name) for line in mentions[name]):
                questions.append(Question("absent", f"{rng.choice(['def', 'def', 'file', 'const', 'return'])}:{name}", [self.library.absent], True))
        return questions

    def turn(self, question: Question) -> tuple[list[int], list[int]]:
        """Token ids of `Q: ...\\nA: ` and of the answer with its line break."""
        kind, name = (question.kind, question.name) if question.kind != "absent" else question.name.split(":", 1)
        return self.encode(f"Q: {ask(kind, name, self.rng)}\nA: "), question.answer + [self.library.newline]

    def order(self, questions: list[Question]):
        """Draw without replacement: the kind by weight, then within the kind hard ones first more often."""
        pool = defaultdict(list)
        for question in questions:
            pool[question.kind].append(question)
        absent = pool.pop("absent", [])
        self.rng.shuffle(absent)
        while pool:
            if absent and self.rng.random() < ABSENT_SHARE:
                yield absent.pop()
                continue
            kinds = list(pool)
            kind = self.rng.choices(kinds, [KIND_WEIGHTS[k] for k in kinds])[0]
            members = pool[kind]
            index = self.rng.choices(range(len(members)), [HARD_WEIGHT if q.hard else 1.0 for q in members])[0]
            yield members.pop(index)
            if not members:
                del pool[kind]

    def pack(self, length: int) -> tuple[list[int], list[int]]:
        """length+1 token ids and, for each, the number of its question kind + 1 if it is part of an answer, else 0."""
        share = self.rng.uniform(0.12, 0.5) if length > 300 else self.rng.uniform(0.25, 0.42)
        needles = self.rng.randint(1, max(2, length // 200)) if self.rng.random() < 0.2 else 0
        context = self.context(int(length * (1 - share)), needles)
        ids, kinds = list(context.ids), [0] * len(context.ids)
        for question in self.order(context.questions):
            prompt, answer = self.turn(question)
            if len(ids) + len(prompt) + len(answer) > length + 1:
                continue
            ids += prompt + answer
            kinds += [0] * len(prompt) + [KINDS.index(question.kind) + 1] * len(answer)
        padding = length + 1 - len(ids)
        pad = self.library.tokenizer.token_to_id("<|pad|>")
        return (ids + [pad] * padding)[: length + 1], (kinds + [0] * padding)[: length + 1]

    def batch(self, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """ids and kinds, each [B, T+1] int64."""
        packs = [self.pack(length) for _ in range(count)]
        return np.array([ids for ids, _ in packs]), np.array([kinds for _, kinds in packs])
