"""Questions that only training asks, about any name that stands on one line: what a model must find to answer the questions around a definition.

A comment stands above a definition, a return below it, and the file's name far above. A pack holds few of those, and hundreds of lines with a name
of their own, so that the same steps (from a name to its line, from there to another) are learned from many more examples.
"""

import random
import re
from typing import NamedTuple

# kind: its wordings
DRILLS = {
    "above": ["Which line is above {name}?", "Show the line above {name}.", "What is one line over {name}?"],
    "below": ["Which line is below {name}?", "Show the line below {name}.", "What is one line under {name}?"],
    "holder": ["Which file has {name} in it?", "In which file is {name}?", "Name the file with {name}."],
    "next": ["Which return is next after {name}?", "Show the first return after {name}.", "After {name}, what is returned first?"],
}
HEADER = "=== "
RETURN = re.compile(r"\s*return\s+\S")


class Drill(NamedTuple):
    kind: str
    name: str
    answer: str  # a line without its indentation


def drills(lines: list[str], mentions: dict[str, list[int]], rng: random.Random, per_kind: int) -> list[Drill]:
    """At most `per_kind` questions of each kind about names that stand on one line of a context; `mentions` are the lines of every name."""
    alone = [(name, found[0]) for name, found in sorted(mentions.items()) if len(found) == 1 and len(name) >= 4]
    rng.shuffle(alone)
    headers, returns = nearest_header(lines), next_return(lines)
    found = []
    for kind in DRILLS:
        count = 0
        for name, index in alone:
            at = {"above": index - 1, "below": index + 1, "holder": headers[index], "next": returns[index]}[kind]
            if at is None or not 0 <= at < len(lines) or (lines[at].startswith(HEADER) and kind != "holder"):
                continue
            if re.search(r"\w\W+\w", lines[at]):  # no bracket alone
                found.append(Drill(kind, name, lines[at].strip()))
                count += 1
            if count == per_kind:
                break
    return found


def nearest_header(lines: list[str]) -> list[int | None]:
    """For every line, the header of its file."""
    found, last = [], None
    for index, line in enumerate(lines):
        last = index if line.startswith(HEADER) else last
        found.append(last)
    return found


def next_return(lines: list[str]) -> list[int | None]:
    """For every line, the first line behind it in its file that returns something."""
    found, following = [], None
    for index in range(len(lines) - 1, -1, -1):
        found.append(following)
        following = index if RETURN.match(lines[index]) else None if lines[index].startswith(HEADER) else following
    return found[::-1]
