"""How people ask: wordings of every kind of question, and the answer that says the context does not hold it."""

import random

ABSENT = "<|absent|>"

TEMPLATES = {
    "def": [
        "Where is {name} defined?", "Where is {name} declared?", "Where's {name}?", "Where is {name}?", "Where is {name} implemented?",
        "Find the definition of {name}.", "Show me {name}", "Show me where {name} is defined.", "Show the definition of {name}",
        "How is {name} defined?", "Which line defines {name}?", "Which line declares {name}?", "What is {name}?", "Go to the definition of {name}",
    ],
    "const": [
        "What is the value of {name}?", "What is {name} set to?", "What value does {name} have?", "What's the value of {name}?",
        "What does {name} equal?", "Which value is assigned to {name}?", "How large is {name}?", "Show me the value of {name}",
    ],
    "return": [
        "What does {name} return?", "What is returned by {name}?", "What does the function {name} return?", "What is the return value of {name}?",
        "How is the result of {name} computed?", "How is {name} computed?", "Which value does {name} return?", "Show me what {name} returns",
        "Find the return statement of {name}.",
    ],
    "import": [
        "Which file imports {name}?", "Which line imports {name}?", "Where is {name} imported?", "Where is {name} imported from?",
        "Where does {name} come from?", "Show me the import of {name}", "Find the import of {name}.", "What imports {name}?", "How is {name} imported?",
    ],
    "comment": [
        "What does the comment above {name} say?", "What does the comment on {name} say?", "How is {name} documented?", "What is {name} for?",
        "What is the comment of {name}?", "Show me the comment above {name}", "What does the documentation of {name} say?", "What does {name} do?",
    ],
    "docstring": [
        "What does the docstring of {name} say?", "How is {name} documented?", "What is {name} for?", "What is the docstring of {name}?",
        "Show me the docstring of {name}", "What does the documentation of {name} say?", "What does {name} do?",
    ],
    "file": [
        "Which file defines {name}?", "In which file is {name} defined?", "What file is {name} in?", "Which file contains the definition of {name}?",
        "Which file declares {name}?", "In what file is {name} implemented?",
    ],
    "needle": [
        "What is the special magic number for {name}?", "What is the special magic number for {name} mentioned in the provided text?",
        "What is the magic number for {name}?", "Find the special magic number for {name}.",
    ],
}  # fmt: skip


def ask(kind: str, name: str, rng: random.Random) -> str:
    """One question in a random wording, sometimes typed carelessly."""
    question = rng.choice(TEMPLATES[kind])
    style = rng.random()
    if kind != "needle" and style < 0.45:
        name = f"`{name}`"
    elif kind != "needle" and style < 0.50:
        name = f'"{name}"'
    elif kind in ("def", "return", "comment", "docstring") and style < 0.54:
        name = f"{name}()"
    if rng.random() < 0.2:
        question = question[0].lower() + question[1:]
    if rng.random() < 0.2:
        question = question.rstrip("?.")
    return question.format(name=name)
