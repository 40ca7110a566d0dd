"""Facts planted between the lines of a context, in the style of RULER (arXiv 2404.06654): their answers are certain at any length.

needle         one magic number for one key
needleKeys     one of several keys with a number each
needleValues   one key with several numbers, all asked for
needleQueries  several keys asked for at once
variables      a chain of assignments, some of it through other variables, beside a second chain
An answer of several lines is one line after another, each behind its own `A: `.
"""

import random
from typing import NamedTuple

KINDS = ["needle", "needleKeys", "needleValues", "needleQueries", "variables"]
CONSONANTS, VOWELS = "BCDFGHJKLMNPRSTVWZ", "AEIOU"


class Planted(NamedTuple):
    kind: str
    name: str  # what stands for {name} in the wording
    lines: list[str]  # what is planted, in the order in which it has to stand
    answers: list[str]


def key(words: list[str], rng: random.Random) -> str:
    return rng.choice(words) + (f"-{rng.choice(words)}" if rng.random() < 0.7 else "")


def number_line(name: str, rng: random.Random) -> str:
    opening = "One of the special magic numbers" if rng.random() < 0.5 else "The special magic number"
    return f"{opening} for {name} is: {rng.randrange(10**5, 10**7)}."


def variable(rng: random.Random) -> str:
    return "".join(rng.choice(letters) for letters in (CONSONANTS, VOWELS, CONSONANTS, VOWELS, CONSONANTS))


def chain(links: int, rng: random.Random) -> tuple[str, list[str]]:
    """A value, and `links` lines that give it to one variable after another."""
    value = str(rng.randrange(10**4, 10**5))
    names = [variable(rng) for _ in range(links)]
    lines = [f"VAR {names[0]} = {value}"]
    return value, lines + [f"VAR {name} = VAR {before}" for before, name in zip(names, names[1:])]


def plant(kind: str, count: int, words: list[str], rng: random.Random) -> list[Planted]:
    """What one context gets: `count` keys, values or links. Every needle of several keys can be asked about."""
    if kind == "variables":
        chains = [chain(max(2, min(count, 4)), rng) for _ in range(2)]
        return [Planted(kind, value, lines, lines) for value, lines in chains]
    if kind == "needleValues":
        name = key(words, rng)
        lines = [number_line(name, rng) for _ in range(max(2, min(count, 4)))]
        return [Planted(kind, name, lines, lines)]
    lines = {key(words, rng): "" for _ in range(1 if kind == "needle" else max(2, count))}
    lines = {name: number_line(name, rng) for name in lines}
    single = "needle" if len(lines) == 1 else "needleKeys"
    planted = [Planted(single, name, [line], [line]) for name, line in lines.items()]
    if kind == "needleQueries" and len(lines) > 1:
        asked = rng.sample(sorted(lines), min(len(lines), rng.randint(2, 4)))
        together = f"{', '.join(asked[:-1])} and {asked[-1]}"
        planted.append(Planted(kind, together, [], [lines[name] for name in asked]))
    return planted


def places(planted: list[Planted], slots: int, rng: random.Random) -> list[tuple[int, str]]:
    """(slot, line) for every planted line: those of one fact in their order, different facts anywhere among each other."""
    placed = []
    for fact in planted:
        at = sorted(rng.randint(0, slots) for _ in fact.lines)
        placed += zip(at, fact.lines)
    return placed
