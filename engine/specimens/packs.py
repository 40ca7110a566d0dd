"""Training and evaluation packs: lines of several files under `=== path ===` headers, then questions with verbatim answers."""

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

import needles
from facts import IDENTIFIER, NOT_NAMES, Fact, find_calls, may_define
from library import Library, SourceFile
from links import COMMENT, PATH, Link, known_above, named_line
from questions import UNSEEN, WORDINGS, ask

KIND_WEIGHTS = {
    "def": 0.22, "signature": 0.05, "const": 0.12, "return": 0.24, "import": 0.10, "caller": 0.05, "comment": 0.20, "docstring": 0.08, "config": 0.08,
    "file": 0.10, "needle": 0.4, "needleKeys": 0.2, "needleValues": 0.8, "needleQueries": 0.8, "variables": 0.5,
}  # fmt: skip; needles are only in some packs, and there they come early
FOCUS_WEIGHTS = {"return": 4.0, "comment": 4.0, "docstring": 3.0, "const": 2.0, "config": 2.0}  # of the kinds that windows are laid around; 1 for the others
KINDS = [*KIND_WEIGHTS, "absent"]
ABSENT_SHARE = 0.13
USAGE_FIRST_SHARE = 0.5  # of the packs begin with a use of a name before its definition
HARD_WEIGHT = 4.0
MAX_ANSWER = 56
MAX_HEADER = 40
RICH_WEIGHT = 4.0  # of a definition about which more than its place can be asked
AROUND_DEFINITION = ("return", "comment", "docstring", "file")  # kinds whose answer stands where the name is defined, and may not hold the name
CALLS = 4  # names asked about by their only call, at most
FOLDERS = ["src", "lib", "app", "server", "client", "packages/core/src", "internal", "tools", "test", "src/util"]
ABSENT_KINDS = ["def", "def", "const", "return", "import", "caller", "comment", "file", "signature", "config", "needle"]


@dataclass(frozen=True)
class Mixture:
    """What is asked how often."""

    kinds: dict = field(default_factory=lambda: KIND_WEIGHTS)
    focus: dict = field(default_factory=lambda: FOCUS_WEIGHTS)
    needles: float = 0.3  # of the packs have planted facts
    questions: tuple = (0.12, 0.5)  # of a pack's tokens are for questions, drawn between these
    definition_first: float = 0.0  # of the questions of AROUND_DEFINITION come behind the one for the definition
    wordings: int = 1  # 2: also the wordings of MORE
    snippets: float = 0.0  # of the packs consist of short definitions, each with all of its comment and its return


class Piece(NamedTuple):
    """Ranges of lines of one file, shown under one header."""

    file: SourceFile
    ranges: list[tuple[int, int]]


class Question(NamedTuple):
    kind: str
    name: str
    answer: list[int]  # without the final line break
    hard: bool  # the answer is not the first line that mentions the name


class Block(NamedTuple):
    """One line of a context."""

    ids: list[int]  # with the line break
    text: str
    at: tuple[str, int] | None  # path, and line in that file, -1 for its header; none of a planted line


class Context(NamedTuple):
    ids: list[int]
    lines: list[str]
    questions: list[Question]
    links: list[Link]


class Batch(NamedTuple):
    ids: np.ndarray  # [B, T+1] int64
    kinds: np.ndarray  # [B, T+1] int64
    links: np.ndarray  # [L, 3] int64: place in the flattened B*T, slot, token


class PackBuilder:
    def __init__(self, library: Library, rng: random.Random, mixture: Mixture = Mixture()):
        self.source, self.rng, self.mixture = library, rng, mixture

    def encode(self, text: str) -> list[int]:
        return self.source.tokenizer.encode(text).ids

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
        kinds = sorted({fact.kind for fact in file.facts})
        kind = self.rng.choices(kinds, [self.mixture.focus.get(kind, 1.0) for kind in kinds])[0]
        return self.rng.choice([fact for fact in file.facts if fact.kind == kind])

    def usage_first(self, budget: int) -> list[Piece]:
        """A window around a use of a name, then one around its definition: one file with a gap, or two files."""
        file = self.source.any_file(self.rng)
        definitions = [fact for fact in file.facts if fact.kind == "def" and len(fact.name) > 2]
        if not definitions:
            return []
        rich = {fact.name for fact in file.facts if fact.kind in ("return", "comment", "docstring", "const")}
        fact = self.rng.choices(definitions, [RICH_WEIGHT if fact.name in rich else 1.0 for fact in definitions])[0]
        found = self.source.mentions(file, fact.name, self.rng)
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
        # Without a draw where there are none, so that the packs of the siblings stay what they were.
        if self.mixture.snippets and rng.random() < self.mixture.snippets:
            return self.snippets(budget)
        if rng.random() < USAGE_FIRST_SHARE:
            chosen = self.usage_first(int(budget * rng.uniform(0.35, 0.8)))
            used = sum(self.size(piece) for piece in chosen)
            if used > budget:
                chosen, used = [], 0
        near = chosen[0].file if chosen and rng.random() < 0.5 else None
        for _ in range(200):
            left = budget - used
            if left < 60:
                break
            wanted = left if left < 140 or rng.random() < 0.15 else rng.randint(80, max(100, min(left, max(budget // 3, 160))))
            file = rng.choice(self.source.packages[near.package]) if near and rng.random() < 0.7 else self.source.any_file(rng)
            if any(piece.file is file for piece in chosen):
                continue
            fact = self.focus(file) if rng.random() < 0.95 else None
            piece = Piece(file, [self.window(file, max(wanted - 20, 40), fact.answer if fact else None)])
            if piece.ranges[0][1] - piece.ranges[0][0] < 2 or self.size(piece) > left:
                continue
            used += self.size(piece)
            chosen.insert(rng.choice([0, len(chosen)]), piece)
            near = file if rng.random() < 0.5 else near
        return chosen

    def snippets(self, budget: int) -> list[Piece]:
        """Short definitions of many files: so many lines could answer that a guess is worth nothing."""
        rng, chosen, used = self.rng, [], 0
        for _ in range(400):
            if budget - used < 60:
                break
            file = rng.choice(self.source.packages[chosen[-1].file.package]) if chosen and rng.random() < 0.4 else self.source.any_file(rng)
            spans = file.short_definitions
            if not spans or any(piece.file is file for piece in chosen):
                continue
            ranges = []
            for span in sorted(rng.sample(spans, min(len(spans), rng.choice((1, 1, 2, 3))))):
                if not ranges or ranges[-1][1] <= span[0]:
                    ranges.append(span)
            piece = Piece(file, ranges)
            if self.size(piece) <= budget - used:
                used += self.size(piece)
                chosen.append(piece)
        return chosen

    def size(self, piece: Piece) -> int:
        return 20 + sum(len(piece.file.tokens(*span)) for span in piece.ranges)

    def planted(self, length: int) -> list[needles.Planted]:
        """What a training pack of `length` tokens has planted: mostly nothing."""
        if self.rng.random() >= self.mixture.needles:
            return []
        kind = self.rng.choice(needles.KINDS)
        return needles.plant(kind, self.rng.randint(2, max(3, min(8, length // 100))), self.source.words, self.rng)

    def context(self, budget: int, planted: list[needles.Planted] = []) -> Context:
        """At most `budget` tokens of files and every question they answer with exactly one line."""
        sizes = {line: len(self.encode(line)) + 1 for fact in planted for line in fact.lines}
        budget -= sum(sizes.values())
        blocks: list[Block] = []
        facts, shown_facts = [], []
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
            blocks.append(Block(header_ids + [self.source.newline], header, (path, -1)))
            blocks += [Block(file.tokens(line, line + 1).tolist(), file.lines[line], (path, line)) for line in shown]
            for fact in file.facts:
                if all(line in present for line in range(fact.first, fact.last + 1)):
                    facts.append((fact.kind, fact.name, file.answer(fact.answer), file.lines[fact.answer].strip()))
                    shown_facts.append((path, fact))
                    if fact.kind == "def":
                        facts.append(("file", fact.name, header_ids, header))
        for slot, line in sorted(needles.places(planted, len(blocks), self.rng), key=lambda place: -place[0]):
            blocks.insert(slot, Block(self.encode(line) + [self.source.newline], line, None))
        lines = [block.text for block in blocks]
        facts += self.callers(blocks)
        for fact in planted:
            facts.append((fact.kind, fact.name, self.joined(fact.answers), fact.answers[0]))
        ids = [token for block in blocks for token in block.ids]
        return Context(ids, lines, self.questions(lines, facts), self.links(blocks, shown_facts))

    def links(self, blocks: list[Block], facts: list[tuple[str, Fact]]) -> list[Link]:
        """What the lines of a context must know of each other (links.py), for facts (path, fact) that are in it."""
        starts, length = [], 0
        for block in blocks:
            starts.append(length)
            length += len(block.ids)
        places = {block.at: (start, block.ids) for block, start in zip(blocks, starts) if block.at}
        links = []
        for path, fact in facts:
            name = self.encode(fact.name)
            if fact.kind in ("return", "docstring"):
                start, ids = places[path, fact.answer]
                links += named_line(start, ids, self.source.indent(ids), name)
            elif fact.kind == "comment":
                words = [token for token in places[path, fact.answer][1] if self.source.wordy[token]]
                links += known_above(*places[path, fact.last], name, COMMENT, words[:3])
            elif fact.kind == "def":
                stem = self.encode(path.split("/")[-1].split(".")[0])
                words = [token for token in places[path, -1][1] if self.source.wordy[token]]
                links += known_above(*places[path, fact.answer], name, PATH, words[:1] + stem[:2])
        return links

    def joined(self, answers: list[str]) -> list[int]:
        """The tokens of an answer of several lines, each but the first behind its own `A: `."""
        return self.encode("\nA: ".join(answers))

    def callers(self, blocks: list[Block]) -> list[tuple]:
        """The only call of some names; a name whose definition is in sight comes first."""
        lines = [block.text for block in blocks]
        calls = {name: at for name, at in find_calls(lines).items() if len(name) >= 4 and name not in NOT_NAMES}
        facts = []
        for name in self.rng.sample(sorted(calls), len(calls)):
            called = [index for index in calls[name] if not may_define(lines[index], name)]
            if len(called) != 1 or lines[called[0]].lstrip().startswith(("//", "#", "*", "/*")):
                continue
            text = lines[called[0]].strip()
            facts.append((len(calls[name]) == 1, ("caller", name, self.encode(text), text)))
        return [fact for _, fact in sorted(facts, key=lambda entry: entry[0])[:CALLS]]

    def questions(self, lines: list[str], facts: list[tuple]) -> list[Question]:
        """Facts with one answer in this context, and names that have none."""
        rng = self.rng
        count = Counter((kind, name) for kind, name, _, _ in facts)
        found = [f for f in facts if count[f[0], f[1]] == 1 and count["def", f[1]] <= 1 and (len(f[2]) <= MAX_ANSWER or f[0] in needles.KINDS)]
        first_mention, mentions = {}, defaultdict(list)
        for index, line in enumerate(lines):
            for name in set(IDENTIFIER.findall(line)) if not line.startswith("=== ") else ():
                first_mention.setdefault(name, line.strip())
                mentions[name].append(index)
        questions = [Question(kind, name, answer, first_mention.get(name) != text) for kind, name, answer, text in found]
        everything = "\n".join(lines)
        for kind in ABSENT_KINDS:
            names = {"config": self.source.settings, "needle": self.source.words}.get(kind, self.source.names)
            name = rng.choice(names) if names else ""
            if name and name not in everything:
                questions.append(Question("absent", f"{kind}:{name}", [self.source.absent], False))
        known = {kind: {name for k, name, _, _ in facts if k == kind} for kind in ("def", "const", "config")}
        used = [name for name in sorted(mentions) if len(name) >= 4 and not any(name in names for names in known.values())]
        for name in rng.sample(used, min(6, len(used))):
            if not any(may_define(lines[index], name) for index in mentions[name]):
                questions.append(Question("absent", f"{rng.choice(['def', 'def', 'file', 'const', 'return'])}:{name}", [self.source.absent], True))
        return questions

    def turn(self, question: Question, unseen: bool = False) -> tuple[list[int], list[int]]:
        """Token ids of `Q: ...\\nA: ` and of the answer with its line break."""
        kind, name = (question.kind, question.name) if question.kind != "absent" else question.name.split(":", 1)
        return self.encode(f"Q: {ask(kind, name, self.rng, UNSEEN if unseen else WORDINGS[self.mixture.wordings])}\nA: "), question.answer + [self.source.newline]

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
            kind = self.rng.choices(kinds, [self.mixture.kinds[k] for k in kinds])[0]
            members = pool[kind]
            index = self.rng.choices(range(len(members)), [HARD_WEIGHT if q.hard else 1.0 for q in members])[0]
            question = members.pop(index)
            if not members:
                del pool[kind]
            # Without a draw where nothing comes first, so that the packs of the siblings stay what they were.
            if kind in AROUND_DEFINITION and self.mixture.definition_first and self.rng.random() < self.mixture.definition_first:
                first = next((other for other in pool["def"] if other.name == question.name), None) if "def" in pool else None
                if first:
                    pool["def"].remove(first)
                    yield first
                    if not pool["def"]:
                        del pool["def"]
            yield question

    def pack(self, length: int) -> tuple[list[int], list[int], list[Link]]:
        """length+1 token ids; for each, the number of its question kind + 1 if it is part of an answer, else 0; and the links.

        The token behind an answer belongs to it: it says whether another line follows (`A`) or the answer is over (`Q`, or the end).
        """
        share = self.rng.uniform(*self.mixture.questions) if length > 300 else self.rng.uniform(0.25, 0.42)
        context = self.context(int(length * (1 - share)), self.planted(length))
        ids, kinds, last = list(context.ids), [0] * len(context.ids), 0
        for question in self.order(context.questions):
            prompt, answer = self.turn(question)
            if len(ids) + len(prompt) + len(answer) > length:
                continue
            number = KINDS.index(question.kind) + 1
            ids += prompt + answer
            kinds += [last] + [0] * (len(prompt) - 1) + [number] * len(answer)
            last = number
        padding = length + 1 - len(ids)
        ids += [self.source.end] + [self.source.pad] * (padding - 1)
        return ids, kinds + [last] + [0] * (padding - 1), context.links

    def batch(self, count: int, length: int) -> Batch:
        packs = [self.pack(length) for _ in range(count)]
        links = [(row * length + link.position, link.slot, link.token) for row, (_, _, found) in enumerate(packs) for link in found]
        return Batch(np.array([ids for ids, _, _ in packs]), np.array([kinds for _, kinds, _ in packs]), np.array(links, dtype=np.int64).reshape(-1, 3))
