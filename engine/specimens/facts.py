"""What can be asked about a file, found line by line with regular expressions.

A fact says: the answer to a question of this kind about this name is this one line, provided the lines
first..last are all in the context. Patterns are deliberately narrow: a missed fact costs nothing, a wrong one teaches an error.
"""

import re
from typing import NamedTuple

IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
ID = r"([A-Za-z_$][A-Za-z0-9_$]*)"
EXPORT = r"^\s*(?:export\s+)?(?:default\s+)?(?:declare\s+)?"
MODIFIERS = r"(?:(?:public|private|protected|static|readonly|override|async|get|set)\s+)*"
DEFINITIONS = {
    "js": [
        (True, re.compile(EXPORT + r"(?:async\s+)?function\s*\*?\s*" + ID + r"\s*[(<]")),
        (False, re.compile(EXPORT + r"(?:abstract\s+)?class\s+" + ID + r"\b")),
        (True, re.compile(EXPORT + r"(?:const|let|var)\s+" + ID + r"\s*(?::[^=]+)?=\s*(?:async\s+)?(?:function\b.*|\([^()]*\)\s*(?::[^=]+)?=>\s*)\{\s*$")),
        (False, re.compile(EXPORT + r"(?:const|let|var)\s+" + ID + r"\s*(?::[^=]+)?=")),
        (False, re.compile(EXPORT + r"(?:const\s+)?(?:interface|type|enum|namespace)\s+" + ID + r"\b(?!\s*[,}:(.]|\s+as\b)")),
        (False, re.compile(r"^\s*(?:module\.)?exports\." + ID + r"\s*=")),
        (True, re.compile(r"^\s+" + MODIFIERS + r"\*?" + ID + r"\s*(?:<[^<>]*>)?\([^()]*\)\s*(?::[^{]+)?\{\s*$")),
    ],
    "py": [
        (True, re.compile(r"^\s*(?:async\s+)?def\s+" + ID + r"\s*\(")),
        (False, re.compile(r"^\s*class\s+" + ID + r"\b")),
        (False, re.compile(r"^" + ID + r"\s*(?::[^=]+)?=[^=]")),
    ],
    "go": [
        (True, re.compile(r"^func\s+(?:\([^()]*\)\s*)?" + ID + r"\s*[(\[]")),
        (False, re.compile(r"^\s*type\s+" + ID + r"\b")),
        (False, re.compile(r"^(?:const|var)\s+" + ID + r"\b")),
        (False, re.compile(r"^\t([A-Z][A-Za-z0-9_]*)(?:\s+[A-Za-z0-9_.]+)?\s+=\s")),
    ],
}
LITERAL = r"""(?:-?\d[\w.]*(?:\s*(?:\*|<<)\s*[\w.]+)*|"[^"]{1,70}"|'[^']{1,70}'|`[^`]{1,70}`|true|false|True|False|null|None|/[^/]{2,60}/[dgimsuy]*)"""
CONSTANTS = {
    "js": re.compile(r"^\s*(?:export\s+)?(?:static\s+|readonly\s+)*(?:const|let|var)\s+" + ID + r"\s*(?::[^=]+)?=\s*" + LITERAL + r"\s*;?(?:\s*//.*)?$"),
    "py": re.compile(r"^\s*" + ID + r"\s*(?::[^=]+)?=\s*" + LITERAL + r"\s*(?:#.*)?$"),
    "go": re.compile(r"^(?:\t|const\s+|var\s+)" + ID + r"(?:\s+[A-Za-z0-9_.]+)?\s+=\s+" + LITERAL + r"\s*(?://.*)?$"),
}
IMPORTS = {
    "js": [
        re.compile(r"""^\s*(?:import|export)\b(?P<symbols>.*?)\bfrom\s+['"](?P<module>[^'"]+)['"]"""),
        re.compile(r"""^\s*import\s+['"](?P<module>[^'"]+)['"]"""),
        re.compile(r"""^\s*(?:const|var|let)\s+(?P<symbols>[^=]+?)\s*=\s*require\(\s*['"](?P<module>[^'"]+)['"]"""),
    ],
    "py": [re.compile(r"^\s*import\s+(?P<module>[\w.]+)"), re.compile(r"^\s*from\s+(?P<module>[\w.]+)\s+import\s+(?P<symbols>.*)$")],
    "go": [re.compile(r'^(?:import)?\s+(?:[\w.]+\s+)?"(?P<module>[a-z][\w./-]+)"\s*$')],
}
RETURN = re.compile(r"^\s*return\s+\S")
COMMENT_MARK = {"js": "//", "py": "#", "go": "//"}
# One key with one plain value on its line: JSON, YAML, TOML, INI and property files.
SETTINGS = [
    re.compile(r'^\s*"([A-Za-z_@][\w.@/-]*)"\s*:\s*(?:"[^"]{1,100}"|-?\d[\w.]*|true|false|null)\s*,?$'),
    re.compile(r"^\s*(?:- )?([A-Za-z_][\w.-]*)\s*(?::\s|=)\s*[^\s{\[|>#&*].{0,100}$"),
]
NOT_NAMES = set(
    "if for while switch catch function return with constructor else do try default from of in as new await yield typeof super this "
    "type interface import export const let var class static get set async null undefined true false self cls _ e i j k x".split()
)
MAX_BODY = 60
MAX_COMMENT = 30


class Fact(NamedTuple):
    kind: str
    name: str
    first: int
    last: int
    answer: int


def indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def only_return(lines: list[str], definition: int) -> int | None:
    """The line of the single `return value` in the body that is indented below a definition."""
    level, found = indentation(lines[definition]), None
    for index in range(definition + 1, min(len(lines), definition + MAX_BODY)):
        line = lines[index]
        if not line.strip():
            continue
        if indentation(line) <= level and not line.lstrip().startswith((")", "{")):
            return found
        if RETURN.match(line):
            if found is not None:
                return None
            found = index
    return None


def comment_above(lines: list[str], definition: int, language: str) -> int | None:
    """The first line with words of the comment that ends on the line before a definition."""
    mark, index = COMMENT_MARK[language], definition - 1
    text = lines[index].strip() if index >= 0 else ""
    if text.startswith(mark):
        while index > 0 and lines[index - 1].strip().startswith(mark):
            index -= 1
        words = lines[index].strip()
        return index if len(words) > 8 and "eslint" not in words and "@" not in words and definition - index <= MAX_COMMENT else None
    if language != "js" or not text.endswith("*/"):
        return None
    if text.startswith("/**"):
        return index if len(text) > 14 else None
    for start in range(index - 1, max(-1, index - MAX_COMMENT), -1):
        if lines[start].strip().startswith("/*"):
            words = lines[start + 1].strip()
            return start + 1 if words.startswith("*") and len(words) > 8 and "*/" not in words and not words.startswith("* @") else None
    return None


def docstring_below(lines: list[str], definition: int) -> int | None:
    if definition + 1 < len(lines) and lines[definition].rstrip().endswith(":"):
        text = lines[definition + 1].strip()
        if text.startswith(('"""', 'r"""', "'''")) and len(text) > 12:
            return definition + 1
    return None


def import_names(match: re.Match) -> set[str]:
    """The module as written, its last path part and the imported symbols."""
    groups = match.groupdict()
    module = groups["module"]
    names = {module}
    stem = re.sub(r"\.(js|ts|mjs|cjs|json)$", "", module).rstrip("/").split("/")[-1]
    if IDENTIFIER.fullmatch(stem):
        names.add(stem)
    names.update(IDENTIFIER.findall(groups.get("symbols") or ""))
    return {name for name in names if len(name) >= 3 and name not in NOT_NAMES}


def has_parameters(line: str, name: str) -> bool:
    """Whether a line holds a whole parameter list, not an empty one, behind a name it defines."""
    start = line.find("(", line.find(name) + len(name))
    depth = 0
    for index in range(start, len(line)) if start >= 0 else ():
        depth += {"(": 1, ")": -1}.get(line[index], 0)
        if depth == 0:
            inside = line[start + 1 : index].strip()
            return inside not in ("", "self", "cls")
    return False


def find_settings(lines: list[str]) -> list[Fact]:
    facts = []
    for index, line in enumerate(lines):
        match = next(filter(None, (pattern.match(line) for pattern in SETTINGS)), None)
        if match and len(match[1]) >= 2:
            facts.append(Fact("config", match[1], index, index, index))
    return facts


def find_facts(lines: list[str], language: str) -> list[Fact]:
    if language == "config":
        return find_settings(lines)
    if language == "text":
        return []
    facts = []
    for index, line in enumerate(lines):
        for imports in IMPORTS[language]:
            if match := imports.match(line):
                facts += [Fact("import", name, index, index, index) for name in sorted(import_names(match))]
                break
        if match := CONSTANTS[language].match(line):
            if match[1] not in NOT_NAMES:
                facts.append(Fact("const", match[1], index, index, index))
        for is_function, pattern in DEFINITIONS[language]:
            match = pattern.match(line)
            if not match or "require(" in line:
                continue
            name = match[1]
            if name in NOT_NAMES or len(name) < 2:
                break
            facts.append(Fact("def", name, index, index, index))
            if is_function and has_parameters(line, name):
                facts.append(Fact("signature", name, index, index, index))
            if is_function and (answer := only_return(lines, index)) is not None:
                facts.append(Fact("return", name, index, answer, answer))
            if (answer := comment_above(lines, index, language)) is not None:
                facts.append(Fact("comment", name, answer, index, answer))
            if language == "py" and (answer := docstring_below(lines, index)) is not None:
                facts.append(Fact("docstring", name, index, answer, answer))
            break
    return facts


CALL = re.compile(r"(?<![\w$])" + ID + r"\s*\(")


def find_calls(lines: list[str]) -> dict[str, list[int]]:
    """For every name that looks called somewhere, the lines that do so; definitions look the same and are among them."""
    calls = {}
    for index, line in enumerate(lines):
        for name in set(CALL.findall(line)):
            calls.setdefault(name, []).append(index)
    return calls


def may_define(line: str, name: str) -> bool:
    """Whether a line could be read as defining or assigning a name: then the name is no safe example of "not defined here"."""
    escaped = re.escape(name)
    return bool(
        re.search(rf"\b(?:function|class|const|let|var|def|func|type|interface|enum|namespace|for|catch|as)\b[^=]*(?<![\w$]){escaped}(?![\w$])", line)
        or re.search(rf"(?<![\w$.]){escaped}(?![\w$])\s*(?:<[^<>]*>)?\s*(?:=(?!=)|:|\?:|=>|,|\)\s*(?::|=>|\{{))", line)
        or re.search(rf"(?<![\w$]){escaped}\s*(?:\([^()]*\)\s*(?::[^{{]+)?\{{|=(?!=)|:=|:)", line)
    )
