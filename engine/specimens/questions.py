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

# Never seen in training, and written by somebody who saw neither the wordings above nor how the extension reads questions: how much a different
# wording costs is the difference between these and the ones above.
UNSEEN = {
    "def": [
        "Where's {name} defined?",
        "take me to the definition of {name} pls",
        "I keep seeing {name} used all over the place, but where is it actually declared?",
        "definition site of {name}",
        "In which place the {name} is being defined?",
        "Could you please point me to the spot in the code that defines {name}?",
        "need to find the line that introduces {name}, the definition itself and not the usages",
        "yo where does {name} get defined",
    ],
    "signature": [
        "what args does {name} take?",
        "Parameter list of {name}, please.",
        "I want to call {name} but don't remember what I have to pass it. Which parameters does it accept?",
        "{name} signature?",
        "Which arguments the function {name} is expecting?",
        "Can you show me the inputs {name} is declared with?",
        "remind me, what goes between the parentheses in the declaration of {name}",
        "List all formal parameters for {name}.",
    ],
    "const": [
        "what's {name} set to in the code? it's a constant",
        "value of the constant {name}?",
        "Hey, quick one: what number or string does the constant {name} hold?",
        "Tell me the value that is assigned to variable {name}.",
        "how much is {name}, I mean the constant",
        "Could you look up what the {name} constant equals?",
        "{name} = ? (constant)",
        "Which value has the variable {name}?",
    ],
    "return": [
        "what does {name} return?",
        "return value of {name}",
        "If I call {name}, what do I get back?",
        "What is it that the function {name} gives back to its caller?",
        "pls show what comes out of {name} at the return statement",
        "I'm wondering what {name}() returns, could you check for me?",
        "What result is returned from function {name}?",
        "{name} returns what exactly",
    ],
    "import": [
        "where does {name} get imported from?",
        "Which module do we import {name} from?",
        "show me the import line for {name}",
        "import statement that brings in {name}?",
        "{name} is coming from which package? I need the import.",
        "Could you find the line where {name} is imported, please?",
        "so somebody imports {name} at the top of a file, what is that line exactly",
        "From what module is {name} imported?",
    ],
    "caller": [
        "who calls {name}?",
        "find me the call site of {name}",
        "I'm about to change {name} and want to know which line invokes it.",
        "which line is calling to {name}",
        "Please show me the place where {name} gets invoked.",
        "callers of {name}?",
        "From where in the code do we call the function {name}?",
    ],
    "comment": [
        "what does the comment above {name} say?",
        "Read me the comment that sits right before {name}.",
        "is there a comment on top of {name}? what's in it",
        "comment for {name}?",
        "How did the author describe {name} in the comment over it?",
        "What is written in the comment which is directly above {name}?",
        "Could you quote the explanatory comment preceding {name}, please?",
        "somebody left a comment just above {name}, what's the text of it?",
    ],
    "docstring": [
        "what's in the docstring of {name}?",
        "docstring for {name} pls",
        "Show me what {name}'s docstring says.",
        "Can you quote the Python docstring that belongs to {name}?",
        "What text is written in docstring of the {name}?",
        "I'd like to read the triple-quoted doc string inside {name}, if you don't mind.",
        "if I did help() on {name} in python, what docstring would it print?",
        "give docstring: {name}",
    ],
    "config": [
        "what's {name} set to in the config?",
        "config value for {name}?",
        "Which value do we have configured for the key {name}?",
        "Can you check the settings and tell me what {name} is configured as?",
        "In the configuration file, what stands behind the key {name}?",
        "look up the {name} setting in the config and give me its value",
        "What is the current value of configuration option {name}, please?",
        "trying to debug a deploy here, what did we put for {name} in the config file?",
    ],
    "file": [
        "which file is {name} defined in?",
        "What file has the definition of {name}?",
        "filename where {name} is defined?",
        "I need to open the file that defines {name}, what is it called?",
        "{name} is living in which file? I mean its definition",
        "Tell me the path of the file containing the definition of {name}, please.",
        "just the file name thx: where's {name} defined",
        "Which source file should I open to find {name} being defined?",
    ],
    "needle": [
        "what's the special magic number for {name}?",
        "special magic number of {name} pls",
        "Somewhere in the text there's a special magic number given for {name}. Which one is it?",
        "Could you tell me which special magic number belongs to {name}?",
        "I forgot the magic number for {name}, can you find it in the text?",
        "What special magic number is mentioned for {name} in the text above?",
        "magic number for {name}?",
        "Please to find the special magic number what is given for {name}.",
    ],
    "needleValues": [
        "list all the special magic numbers for {name}",
        "what are all of the special magic numbers mentioned for {name}?",
        "There is more than one special magic number for {name} in the text. Give me every one of them.",
        "every magic number for {name} pls, don't skip any",
        "Which are all the special magic numbers that belong to {name}?",
        "Can you collect the complete set of special magic numbers given for {name}?",
        "I need all magic numbers of {name}, not only the first one",
        "the text lists several special magic numbers for {name}, what are they all?",
    ],
    "needleQueries": [
        "what are the special magic numbers for {name}?",
        "special magic numbers for each of these: {name}",
        "Give me the special magic number of each one: {name}.",
        "I need the magic numbers belonging to {name}, one for each please.",
        "Could you look up which special magic numbers the text gives for {name}?",
        "magic numbers for {name} pls",
        "For {name}, tell me what special magic numbers are mentioned.",
        "Which special magic numbers have {name} in the text?",
    ],
    "variables": [
        "which variables have the value {name}?",
        "Find all variables that end up equal to {name}, also the ones assigned through another variable.",
        "what vars hold {name}? follow the assignments",
        "List every variable whose value is {name} after following the chain of assignments.",
        "All the variables which are assigned the value {name}, directly or over other variables, please?",
        "I'm tracing the value {name} through the assignments, what are the names of the variables that carry it?",
        "names of all variables equal to {name}?",
        "Could you tell me which variables get {name} as their value, either directly or by copying from one another?",
    ],
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
