"""How the extension asks a bundled model, for the evaluation: twin of engine/generate/narrow.ts, answerLines.ts and pack/bearsOut.ts.

A question whose kind is recognised (recognised.json, written by a test of the extension's own reader) is asked in trained words. Its answer is the most
probable line among those that hold the name. What a function returns and how a name is documented is looked for around the definition, which is
asked for first; which file defines a name is answered by the place of the definition. A name in code that no line holds is refused.
"""

import json
import re
from pathlib import Path

from library import Library
from packs import Context, Question
from reading import Lines, Reading, Row, most_probable
from facts import indentation

RECOGNISED = json.loads((Path(__file__).parent / "recognised.json").read_text(encoding="utf-8"))
WORDINGS = {
    "definition": "Where is `{}` defined?", "file": "Where is `{}` defined?", "signature": "What are the parameters of `{}`?", "return": "What does `{}` return?",
    "import": "Where is `{}` imported?", "caller": "Where is `{}` called?", "comment": "How is `{}` documented?",
    "key": "What is `{}` set to in the configuration?", "value": None, "number": None,
}  # fmt: skip; None: asked as it was
DEFINITION = WORDINGS["definition"]
RETURNS = re.compile(r"(?:^|[^\w$.])(?:return|yield)(?![\w$])")
COMMENTED = re.compile(r"^\s*(?://|/?\*|#|--)")
COMMENT_LINE = re.compile(r"^\s*(?://|#(?!!?\[|\s*(?:include|define|if|endif|pragma)\b|[\w$]+\s*[=;(:])|--|;;|%)")
LONGEST_HEAD = 30
KEYWORD_BEFORE = re.compile(
    r"(?:^|[^\w$])(?:function\*?|class|const|let|var|def|func|fn|type|interface|enum|struct|trait|module|namespace|macro_rules!|val|sub|#\s*define)\s+(?:\([^)]*\)\s*)?$"
)
ASSIGNED_AT = re.compile(r"(?:export\s+|(?:module\.)?exports\.|[^\W\d][\w$.]*\.prototype\.|\$[\w$.]*\.prototype\.)?$")
CONTROL = re.compile(r"(?:^|\s)(?:if|for|while|switch|return|else|await|catch|new|throw|case)\b")


def plain(wording: str) -> str:
    return (wording[:1].lower() + wording[1:]).rstrip("?.")


NOT_NAMES = set(RECOGNISED.pop("notNames"))  # in bare letters: words that questions are made of
KINDS = {group: {plain(wording): kind for wording, kind in kinds.items()} for group, kinds in RECOGNISED.items()}
PLAIN = re.compile(r"[A-Z]?[a-z]+")
# A word that only code has: with a capital, a digit or a sign inside.
CODE = re.compile(r"[a-z][A-Z]|\w[_$./-][A-Za-z]|[_$@]|\d")


def kind_of(prompt: str, name: str, lines: list[str]) -> str | None:
    """What the extension takes the question in `Q: ...\\nA: ` for; None where it does not recognise it, or lets the answer stand anywhere."""
    question = prompt.removeprefix("Q: ").removesuffix("\nA: ")
    for written in (f"`{name}`", f'"{name}"', f"{name}()", name):
        if written in question:
            wording = plain(question.replace(written, "{name}"))
            kind = KINDS["any"].get(wording)
            if kind is None and (written != name or CODE.search(name)):
                kind = KINDS["unmistakable"].get(wording)
            elif kind is None and PLAIN.fullmatch(name) and name.lower() not in NOT_NAMES and (told := KINDS["inFiles"].get(wording)) in WORDINGS:
                # A plain word is a name where the files bear out what is asked of it.
                kind = told if not holding("definition" if told in ("return", "comment") else told, name, lines)[1] else None
            return kind if kind in WORDINGS else None
    return None


def holds(line: str, name: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", line) is not None


def is_comment(line: str) -> bool:
    return re.search(r"^(?://|/\*|\*|#(?!\s*(?:include|define))|--|<!--|\"\"\"|''')|(?:\*/|\"\"\"|'''|-->)$", line.strip()) is not None


def parts(line: str, name: str) -> tuple[str, str]:
    """What stands before and behind the first place of a name."""
    place = re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", line)
    return (line[: place.start()], line[place.end() :]) if place else ("", "")


def defines(line: str, name: str) -> bool:
    if is_comment(line) or not holds(line, name):
        return False
    before, behind = parts(line, name)
    if KEYWORD_BEFORE.search(before):
        return True
    if ASSIGNED_AT.match(before.lstrip()) and re.match(r"\s*(?:=(?![=>])|:=)", behind):
        return True
    return bool(not CONTROL.search(before) and re.fullmatch(r"[\w$\s*&<>:,[\]]*", before) and re.match(r"(?!.*\bfunction\b)\s*(?:<[^>]*>)?\(.*\)[^;=]*\{$", behind))


def is_set(line: str, name: str) -> bool:
    before, behind = parts(line, name)
    if is_comment(line):
        return False
    if re.search(r"#\s*define\s+$", before):
        return bool(behind.strip())
    assigned = re.match(r"""["'`\])]*(?:\s*:[^=(]*|\s[\w\s]*)?\s*:?=(?![=>~])""", behind)
    return bool(assigned or re.match(r"""["'`]?\s*:\s*(?:[-+]?\d|["'`[{]|(?:true|false|null|none)\b)""", behind, re.IGNORECASE))


def bears_out(kind: str, line: str, name: str) -> bool:
    if not holds(line, name):
        return False
    before, behind = parts(line, name)
    if kind in ("definition", "file"):
        return defines(line, name)
    if kind == "signature":
        return defines(line, name) and re.search(r"^[^=(]*\(|=\s*(?:async\s+)?(?:(?:function\b[^(]*)?\(|[\w$]+\s*=>)", behind) is not None
    if kind == "value":
        return is_set(line, name)
    if kind == "key":
        return bool(re.fullmatch(r"""(?:[-\s"'[]|export\s)*""", before) and re.match(r"""["'\]]*\s*(?:=(?![=>])|:(?!:))""", behind))
    if kind == "import":
        return not is_comment(line) and re.search(r"(?:^|\s)(?:import|from|use|using|include)\b|\brequire\b|#include", line) is not None
    if kind == "caller":
        return not is_comment(line) and not defines(line, name) and re.match(r"\s*(?:<[^<>]*>)?(?:\?\.)?\(", behind) is not None
    return kind == "number" and re.search(r"\d", line.replace(name, "")) is not None


def holding(kind: str, name: str, lines: list[str]) -> tuple[list[str] | None, bool]:
    """Lines that bear out what is asked of a name, else those that hold it, and whether the model may refuse: None where any line may answer."""
    if borne := [line for line in lines if bears_out(kind, line.strip(), name)]:
        return borne, False
    found = [line for line in lines if holds(line, name)] or [line for line in lines if holds(line.lower(), name.lower())]
    return (None if not found and PLAIN.fullmatch(name) else found), True


def body_of(lines: list[str], definition: int) -> list[int]:
    level, body = indentation(lines[definition]), []
    for index in range(definition + 1, len(lines)):
        if not lines[index].strip():
            continue
        if indentation(lines[index]) <= level and not re.match(r"\s*[){\]]", lines[index]):
            break
        body.append(index)
    return body


def return_lines(lines: list[str], definition: int) -> list[int]:
    body, own = body_of(lines, definition), lines[definition]
    if returning := [index for index in body if not COMMENTED.match(lines[index]) and RETURNS.search(lines[index])]:
        return returning
    return [definition] if RETURNS.search(own) or re.search(r"=>\s*[^\s{]", own) else [definition, *(index for index in body if re.search(r"[^\W_]", lines[index]))]


def comment_above(lines: list[str], definition: int) -> list[int]:
    index, found = definition - 1, []
    while index >= 0 and re.match(r"\s*(?:@\w|#!?\[)", lines[index]):
        index -= 1
    last = lines[index].strip() if index >= 0 else ""
    if last.endswith(("*/", "-->")):
        opening = "/*" if last.endswith("*/") else "<!--"
        for at in range(index, -1, -1):
            found.insert(0, at)
            if opening in lines[at]:
                return found
        return []
    while index >= 0 and COMMENT_LINE.match(lines[index]):
        found.insert(0, index)
        index -= 1
    return found


def head_end(lines: list[str], definition: int) -> int | None:
    """The line that ends the head of a `def` or `class` with a colon, its brackets closed."""
    if not re.match(r"\s*(?:async\s+)?(?:def|class)\s", lines[definition]):
        return None
    still_open = 0
    for index in range(definition, min(len(lines), definition + LONGEST_HEAD + 1)):
        still_open += sum((sign in "([{") - (sign in ")]}") for sign in lines[index])
        if still_open <= 0:
            return index if re.search(r":\s*(?:#.*)?$", lines[index]) else None
    return None


def docstring_below(lines: list[str], definition: int) -> list[int]:
    head = head_end(lines, definition)
    opening = re.match(r"\s*[rRuUbB]*(\"\"\"|''')", lines[head + 1]) if head is not None and head + 1 < len(lines) else None
    if not opening:
        return []
    found = [head + 1]
    if opening[1] in lines[head + 1][opening.end() :]:
        return found
    for index in range(head + 2, len(lines)):
        found.append(index)
        if opening[1] in lines[index]:
            return found
    return []


def around(kind: str, lines: list[str], definition: int) -> list[str]:
    """Lines around a definition that can say what it returns, or how it is documented; lines of other files follow at once."""
    end = next((i for i in range(definition, len(lines)) if lines[i].startswith("=== ")), len(lines))
    shown = lines[:end]
    if kind == "return":
        return [shown[index] for index in return_lines(shown, definition)]
    found = (comment_above(shown, definition), docstring_below(shown, definition))
    worded = ([shown[index] for index in part if re.search(r"[^\W\d_]{2}", shown[index])] for part in found)
    return [lines[0] for lines in worded if lines]


class Asker:
    def __init__(self, reading: Reading, context: Context, lines: Lines, library: Library, planted: set[str]):
        self.reading, self.context, self.lines, self.source = reading, context, lines, library
        # Planted lines stand in the middle of bodies and comments, where no code has such lines: they are no part of what is around a definition.
        self.code = [line for line in context.lines if line not in planted]

    def encode(self, question: str) -> list[int]:
        return self.source.tokenizer.encode(f"Q: {question}\nA: ").ids

    def is_best(self, prompt: list[int], answer: list[int], among: list[str] | None, can_refuse: bool) -> bool:
        """Whether the most probable of some lines is the answer, or with [<|absent|>] as the answer that there is none."""
        rows = self.lines.rows if among is None else [self.lines.by_text[line.strip()] for line in dict.fromkeys(among)]
        absent = self.source.absent
        if not rows or (answer != [absent] and answer + [self.source.newline] not in rows):
            return answer == [absent] and not rows
        whole = answer if answer == [absent] else answer + [self.source.newline]
        (logits,) = self.reading.logits([(prompt, whole)])
        return most_probable(self.reading, prompt, whole, logits[: len(whole)], rows, absent if can_refuse else None)

    def is_right(self, question: Question, row: Row) -> bool | None:
        """Whether the extension would give the expected answer; None for several lines and where it has no way of its own."""
        prompt, answer = row
        absent = question.kind == "absent"
        name = question.name.split(":", 1)[1] if absent else question.name
        kind = kind_of(self.source.tokenizer.decode(prompt), name, self.context.lines)
        expected = [self.source.absent] if absent else question.answer
        if question.kind in ("needleValues", "needleQueries", "variables"):
            return None
        if kind is None:
            return self.is_best(prompt, expected, None, True)
        if kind == "definition" and question.kind == "file":
            kind = "file"  # both are asked for the definition, and its place names the file
        around_it = kind in ("return", "comment")
        among, can_refuse = holding("definition" if around_it else kind, name, self.context.lines)
        if kind not in ("return", "comment", "file"):
            own = prompt if WORDINGS[kind] is None else self.encode(WORDINGS[kind].format(name))
            return self.is_best(own, expected, among, can_refuse)
        first = self.encode(DEFINITION.format(name))
        definition = expected if absent else next((q.answer for q in self.context.questions if q.kind == "def" and q.name == name), None)
        if definition is None:
            return self.is_best(prompt, expected, None, True)
        is_found = self.is_best(first, definition, among, can_refuse)
        if not is_found or absent or kind == "file":
            return is_found
        text = self.source.tokenizer.decode(definition)
        candidates = [line for i, l in enumerate(self.code) if l.strip() == text for line in around(kind, self.code, i)]
        then = first + definition + [self.source.newline] + self.encode(WORDINGS[kind].format(name))
        return self.is_best(then, expected, candidates, False)
