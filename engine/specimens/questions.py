"""How people ask: wordings of every kind of question, those that only the evaluation uses, and the answer that says the context does not hold it."""

import random

ABSENT = "<|absent|>"

TEMPLATES = {
    "def": [
        "Where is {name} defined?", "Where is {name} declared?", "Where's {name}?", "Where is {name}?", "Where is {name} implemented?",
        "Find the definition of {name}.", "Show me {name}", "Show me where {name} is defined.", "Show the definition of {name}",
        "How is {name} defined?", "Which line defines {name}?", "Which line declares {name}?", "What is {name}?", "Go to the definition of {name}",
    ],
    "signature": [
        "What are the parameters of {name}?", "What parameters does {name} take?", "What arguments does {name} accept?",
        "What is the signature of {name}?", "Show me the signature of {name}", "Which arguments can I pass to {name}?", "How do I call {name}?",
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
    "caller": [
        "Where is {name} called?", "Which line calls {name}?", "What calls {name}?", "Who calls {name}?", "Show me the call of {name}",
        "Find where {name} is called.", "Where is {name} used?",
    ],
    "comment": [
        "What does the comment above {name} say?", "What does the comment on {name} say?", "How is {name} documented?", "What is {name} for?",
        "What is the comment of {name}?", "Show me the comment above {name}", "What does the documentation of {name} say?", "What does {name} do?",
    ],
    "docstring": [
        "What does the docstring of {name} say?", "How is {name} documented?", "What is {name} for?", "What is the docstring of {name}?",
        "Show me the docstring of {name}", "What does the documentation of {name} say?", "What does {name} do?",
    ],
    "config": [
        "What is {name} set to in the configuration?", "What is {name} configured to?", "What is the setting of {name}?",
        "Which value does the key {name} have?", "What is the configured value of {name}?", "Show me the setting {name}", "How is {name} configured?",
    ],
    "file": [
        "Which file defines {name}?", "In which file is {name} defined?", "What file is {name} in?", "Which file contains the definition of {name}?",
        "Which file declares {name}?", "In what file is {name} implemented?",
    ],
    "needle": [
        "What is the special magic number for {name}?", "What is the special magic number for {name} mentioned in the provided text?",
        "What is the magic number for {name}?", "Find the special magic number for {name}.",
    ],
    "needleValues": [
        "What are all the special magic numbers for {name}?", "What are all the special magic numbers for {name} mentioned in the provided text?",
        "List all magic numbers for {name}.", "Find every special magic number for {name}.",
    ],
    "needleQueries": [
        "What are the special magic numbers for {name}?", "What are the special magic numbers for {name} mentioned in the provided text?",
        "Find the special magic numbers for {name}.",
    ],
    "variables": [
        "Find all variables that are assigned the value {name}.", "Find all variables that are assigned the value {name} in the text above.",
        "Which variables have the value {name}?", "List every variable that gets the value {name}.",
    ],
}  # fmt: skip

# More ways to say the same, for the default model, so that it follows the words less and the sense more.
MORE = {
    "def": [
        "Where do you define {name}?", "Please show the code of {name}", "I am looking for {name}.", "Where does {name} live?", "Open {name}",
        "Jump to {name}", "Which line introduces {name}?", "Locate {name}.", "Where was {name} declared?", "Can you find {name}?",
        "Give me the definition of {name}", "What line is {name} on?", "Show the line that defines {name}.", "Where is the declaration of {name}?",
        "{name}: where is it defined?", "Could you tell me where {name} is defined?", "Where does {name} start?", "Where exactly is {name} implemented?",
    ],
    "signature": [
        "What does {name} take?", "Which parameters has {name}?", "List the parameters of {name}.", "What should I pass to {name}?",
        "What are the arguments of {name}?", "Which inputs does {name} have?", "What can {name} be given?",
        "Give me the signature of {name}", "Which options can {name} be called with?", "What do I have to hand to {name}?", "Name the parameters of {name}.",
    ],
    "const": [
        "What is the constant {name}?", "How much is {name}?", "What is {name} initialised with?", "{name} equals what?", "Give me the value of {name}",
        "Which value has {name}?", "What is in {name}?", "How big is {name}?", "To what is {name} set?", "What did they set {name} to?",
        "Print {name}", "What does the constant {name} hold?", "Which literal is {name}?", "Which value does {name} start with?",
    ],
    "return": [
        "What does a call of {name} give back?", "Which expression does {name} return?", "What value is returned from {name}?", "What is the output of {name}?",
        "What does {name} give?", "How does {name} end?", "What does {name} hand back?", "Show the return of {name}", "What does {name} produce?",
        "What does {name} evaluate to?", "Which line returns from {name}?", "Tell me the return value of {name}.", "What is given back by {name}?",
        "What do callers of {name} receive?", "What result does {name} have?",
    ],
    "import": [
        "Where do we get {name} from?", "Which line brings {name} into the file?", "What module is {name} from?", "Where is {name} required?",
        "Show the line that imports {name}.", "Who imports {name}?", "In what statement is {name} imported?", "What is the import for {name}?",
        "Which module provides {name}?", "How do they import {name}?", "Locate the import of {name}", "Where does the file get {name}?",
    ],
    "caller": [
        "Where is the call of {name}?", "Who uses {name}?", "Which place calls {name}?", "Show a call of {name}", "What uses {name}?", "Where do they call {name}?",
        "Which line uses {name}?", "By whom is {name} called?", "Where does {name} get called?", "Locate the call to {name}.",
    ],
    "comment": [
        "What is written above {name}?", "Which comment describes {name}?", "What does the note above {name} say?", "Describe {name}", "What is the purpose of {name}?",
        "Read the comment of {name}", "Why is there {name}?", "How does the comment describe {name}?", "What is said about {name}?", "Show the docs of {name}",
        "What do the docs say about {name}?", "Tell me about {name}", "What does the author say about {name}?", "Explain {name}.",
    ],
    "docstring": [
        "Which docstring has {name}?", "Describe {name}", "What is the purpose of {name}?", "Show the docs of {name}", "What do the docs say about {name}?",
        "How does the docstring describe {name}?", "What is said about {name}?", "Tell me about {name}", "What is the documentation of {name}?", "Explain {name}.",
    ],
    "config": [
        "What value does the configuration give {name}?", "Which setting has {name}?", "What is {name} in the settings?", "To what is {name} configured?",
        "What does the config say for {name}?", "Give me the configured {name}", "Where is {name} configured?", "What is the entry of {name}?", "Look up {name} in the settings.",
    ],
    "file": [
        "Where is the file of {name}?", "Which file holds {name}?", "Which file is {name} from?", "What is the path of the file that defines {name}?",
        "In which file can I see {name}?", "Which file implements {name}?", "What file declares {name}?", "Give me the file of {name}", "In which module is {name} defined?",
        "Find the file that defines {name}.", "Under which path is {name} defined?",
    ],
    "needle": [
        "What magic number does {name} have?", "Which number is the special magic number for {name}?", "Give me the special magic number for {name}.",
        "What number was given for {name}?", "The special magic number for {name} is what?", "Look for the magic number for {name}.", "Say the magic number for {name}.",
    ],
    "needleValues": [
        "Give me every magic number for {name}.", "Which magic numbers does {name} have?", "Name all numbers for {name}.", "What are the magic numbers given for {name}?",
    ],
    "needleQueries": ["Give me the magic numbers for {name}.", "Which magic numbers do {name} have?", "Look up the magic numbers for {name}."],
    "variables": ["Name the variables that hold {name}.", "Which variables are assigned {name}?", "To which variables is the value {name} given?"],
}  # fmt: skip
WORDINGS = {1: TEMPLATES, 2: {kind: TEMPLATES[kind] + MORE[kind] for kind in TEMPLATES}}  # by number, for recipes

# Never seen in training: how much a different wording costs is the difference between these and the ones above.
UNSEEN = {
    "def": ["Take me to {name}", "At which line does the definition of {name} start?", "Where can I find the code of {name}?"],
    "signature": ["What does {name} expect as arguments?", "Which parameters are declared by {name}?"],
    "const": ["Tell me the value that {name} holds.", "What number or text is stored in {name}?"],
    "return": ["What comes back from {name}?", "What will I get when I call {name}?", "What is the result of {name}?"],
    "import": ["Which statement brings in {name}?", "From which module do we import {name}?"],
    "caller": ["From where do we call {name}?", "Which code invokes {name}?"],
    "comment": ["What explains {name}?", "Read me the comment that stands above {name}."],
    "docstring": ["What explains {name}?", "Read me the docstring of {name}."],
    "config": ["Which setting is used for {name}?", "What did we configure for {name}?"],
    "file": ["Name the file that has {name} in it.", "{name} is defined in which file?"],
    "needle": ["Which special magic number belongs to {name}?", "Tell me the magic number of {name}."],
    "needleValues": ["Which special magic numbers belong to {name}?"],
    "needleQueries": ["Tell me the magic numbers of {name}."],
    "variables": ["Which variables end up with the value {name}?"],
}

PLAIN_NAMES = {"needle", "needleKeys", "needleValues", "needleQueries", "variables"}
CALLABLE = {"def", "signature", "return", "caller", "comment", "docstring"}


def ask(kind: str, name: str, rng: random.Random, wordings: dict[str, list[str]]) -> str:
    """One question in a random wording, sometimes typed carelessly."""
    question = rng.choice(wordings["needle" if kind == "needleKeys" else kind])
    style = rng.random()
    if kind not in PLAIN_NAMES and style < 0.45:
        name = f"`{name}`"
    elif kind not in PLAIN_NAMES and style < 0.50:
        name = f'"{name}"'
    elif kind in CALLABLE and style < 0.54:
        name = f"{name}()"
    if rng.random() < 0.2:
        question = question[0].lower() + question[1:]
    if rng.random() < 0.2:
        question = question.rstrip("?.")
    return question.format(name=name)
