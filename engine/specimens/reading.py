"""A context read by a model, questions run behind it, and what decoding under a constraint would answer.

free        greedy decoding over the whole vocabulary
lines       greedy, but at each step only tokens that continue some line of the context, indentation dropped
refusable   like lines, but <|absent|> competes for the first token
bestLine    the line that is most probable as a whole, found best first as engine/generate/bestLine.ts does, <|absent|> among them
Greedy results are read from teacher forcing: greedy decoding gives exactly the answer if and only if every step prefers the answer's token.
"""

import heapq
from dataclasses import dataclass

import torch
from torch import Tensor

from library import Library
from model import LanguageModel
from packs import Context, Question

CHUNK = 1024  # tokens of a context that are read in one piece
MAX_PASSES = 96  # as in engine/generate/bestLine.ts

Row = tuple[list[int], list[int]]  # prompt, answer


class Reading:
    """A context in the state of a model; rows are run behind it without being kept."""

    @torch.no_grad()
    def __init__(self, model: LanguageModel, context: list[int], room: int):
        self.model = model
        self.positions = () if getattr(model, "rotates", None) is False else model.positions(len(context) + room, torch.float32)
        self.state = None
        for start in range(0, len(context), CHUNK):
            _, self.state = model.extend(torch.tensor([context[start : start + CHUNK]]), self.positions, self.state)

    @torch.no_grad()
    def logits(self, rows: list[Row]) -> list[Tensor]:
        """For each (prompt, answer), the logits [len(answer) + 1, V] that predict the answer behind context and prompt, and what follows it."""
        longest = max(len(prompt) + len(answer) for prompt, answer in rows)
        ids = torch.ones(len(rows), longest, dtype=torch.long)
        for row, (prompt, answer) in enumerate(rows):
            ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        states, _ = self.model.extend(ids, self.positions, self.state)
        return [self.model.head(states[row, len(p) - 1 : len(p) + len(a)]) for row, (p, a) in enumerate(rows)]


@dataclass
class Lines:
    """The different lines of a context without indentation, each with its line break, as token ids."""

    rows: list[list[int]]
    by_text: dict[str, list[int]]

    @classmethod
    def of(cls, context: Context, library: Library) -> "Lines":
        texts = sorted({line.strip() for line in context.lines} - {""})
        rows = [encoding.ids + [library.newline] for encoding in library.tokenizer.encode_batch(texts)]
        return cls(rows, dict(zip(texts, rows)))

    def greedy(self, logits: Tensor, answer: list[int], absent: int | None) -> bool:
        """Whether greedy decoding among the lines gives `answer`; logits [len(answer), V]."""
        rows = self.rows + ([[absent, answer[-1]]] if absent is not None else [])
        for step, token in enumerate(answer):
            choices = sorted({row[step] for row in rows if len(row) > step})
            if token not in choices or choices[int(logits[step, choices].argmax())] != token:
                return False
            rows = [row for row in rows if len(row) > step and row[step] == token]
        return True

    def refuses(self, logits: Tensor, absent: int) -> bool:
        """Whether <|absent|> is preferred to the beginning of every line; logits [V]."""
        choices = sorted({row[0] for row in self.rows} | {absent})
        return choices[int(logits[choices].argmax())] == absent


def split_answer(answer: list[int], newline: int) -> list[tuple[int, int]]:
    """(first token, behind the last) of every line of an answer, its line break included; between them stands `A: `, two tokens."""
    ends = [index + 1 for index, token in enumerate(answer) if token == newline]
    return [(start + 2 if start else 0, end) for start, end in zip([0, *ends], ends)]


def judge(reading: Reading, lines: Lines, library: Library, question: Question, row: Row, logits: Tensor, best: bool) -> dict[str, bool]:
    """Every way of decoding, for one question with its encoded row."""
    prompt, answer = row
    spans = split_answer(answer, library.newline)
    follows = torch.tensor([library.asks, library.answers, library.end])
    goes_on = [bool(logits[end, follows].argmax() == 1) for _, end in spans]
    ends_well = goes_on == [True] * (len(spans) - 1) + [False]
    judged = {"free": logits[: len(answer)].argmax(-1).tolist() == answer and ends_well}
    absent = library.absent
    if question.kind != "absent":
        parts = [lines.greedy(logits[start:end], answer[start:end], None) for start, end in spans]
        judged["lines"] = all(parts) and ends_well
        judged["refused"] = lines.refuses(logits[0], absent)
        judged["refusable"] = judged["lines"] and not judged["refused"]
    else:
        judged["refusable"] = lines.refuses(logits[0], absent)
    if best:
        found = [
            most_probable(reading, prompt + answer[:start], answer[start:end], logits[start:end], lines.rows, absent if start == 0 else None)
            for start, end in spans
        ]
        judged["bestLine"] = all(found) and ends_well
    return judged


def most_probable(reading: Reading, prompt: list[int], answer: list[int], logits: Tensor, rows: list[list[int]], absent: int | None) -> bool:
    """Whether the row that is most probable as a whole is the answer; `logits` [len(answer), V] predict the answer."""
    whole = rows + ([[absent]] if absent is not None else [])
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
        (row,) = reading.logits([(prompt + beginning, [])])
        for entry in continued(beginning, row[0], -cost, None):
            if -entry[0] > target:
                heapq.heappush(heap, entry)
    return False
