"""Write the model card from recipe.json and eval.json.

    python card.py --model DIR
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from evaluate import MODES, TASKS

CARD = """\
---
license: mit
tags: [extractive-question-answering, code, long-context]
---
# keyshift-4m

A decoder of {parameters:.2f} M parameters that answers a question about a code context by copying one line of it verbatim, or says that
the context does not hold the answer. It was trained from scratch by the scripts in `engine/specimens`. It is a specimen: small enough to ship
inside the extension, real enough to test an engine and to show what RoPE scaling does beyond the trained length. It is no general assistant.

## Architecture

Hidden size {hidden_size}, {num_hidden_layers} layers, {num_attention_heads} query heads and {num_key_value_heads} KV head of {head_dim}, SwiGLU {intermediate_size},
vocabulary {vocab_size}, RMSNorm, RoPE (rotate-half, theta 10000), QK-norm per head, no biases, tied embeddings. Two additions to a Qwen3-like decoder:

- **Key shift**: before QK-norm and RoPE each key is mixed with the raw key of the previous token, `(1 - g) k_t + g k_(t-1)`, with a learned gate
  `g = sigmoid(k_shift)` per KV head and channel.
- **Embedding multiplier** {embedding_multiplier:g}: the input row is scaled, the (tied) output table is not.

## Prompt

For every file a line `=== path ===`, then its lines; then `Q: <question>`, a line break and `A: `. The answer is one line of the context without its
indentation, or the token `<|absent|>`; it ends with a line break. Further turns append further `Q:` and `A:` lines. The prompt ends with the blank
after `A:`, and that blank belongs to the token of the colon: `encode(prompt) + encode(answer)` equals `encode(prompt + answer)` for every answer that
does not begin with a blank.

What it was taught to answer: where a name is defined, the value of a constant, the (only) return line of a function, the import of a module or symbol,
the comment above or the docstring of a definition, the file that defines a name, a planted "special magic number", and names without an answer.

## Data

{train_files:,} training files ({train_megabytes:.0f} MB, {train_tokens:.1f} M tokens) and {heldout_files} held-out files: source of npm packages, of the Python standard library and of the
Go standard library. Licences (packages): {licences}. `recipe.json` lists every package with its version and licence,
and the sha256 of the manifest of all files. Minified, generated, duplicate and very large files were dropped.

The split is by content: whole packages were held out, then every held-out file was dropped of which more than a tenth of the lines (of six or more
words and punctuation marks) occur in any training file. The tokenizer saw the training split only.

## Training

{tokens:.1f} M tokens in {steps:,} steps, packs of {cycles} tokens; seed {seed}; {minutes} minutes on two AMD EPYC cores
(AVX-512 bf16) that were busy with other work too; no GPU. Muon for the matrices of the blocks, Adam for the rest; answer tokens weigh 1, a sample of the others {other_weight}. Every hyper-parameter is in `recipe.json`.
The last checkpoint was exported; none was selected.{continuation}

## Accuracy

Exact match of the whole line, one question alone after a context of the given length, random wordings, on {fresh_files:,} files of npm and PyPI packages
that are in none of the splits above, less those of which more than a tenth of the lines occur in a training file; nobody had looked at them before this
model and its decoding were final. *Free*: greedy over the whole vocabulary. *Greedy lines*: greedy, but only tokens that continue a line of the context are
allowed. *Best line*: the line of the context that is most probable as a whole. *Best line or absent*: the same, with `<|absent|>` as one more candidate; this is
what the product does. *First mention*: no model, the first line of the context that holds the name. `defHard` are the definitions that first mention gets
wrong by construction. Trained length: {trained}; beyond it YaRN with factor length / {trained}, and no scaling as the control.

{tables}

`n` is the number of questions. In `absentUnseen` the name does not occur in the context, in `absentUsed` it is used there but not defined.

    python engine/specimens/evaluate.py --corpus corpus.jsonl --model media/specimens/keyshift-4m --lengths {lengths}

reproduces the table (the corpus is built as `engine/specimens/README.md` says).

## Limits

- It finds lines by names. Ask for a name that occurs in the code; descriptions of behaviour ("where do we retry?") are not understood.
- Names defined more than once in the context, and functions with several returns, were never asked about: which line it gives is then arbitrary.
- First mention is a strong control on definitions and constants, and better than the model on imports; what the model adds is `defHard`, returns,
  comments, files and the refusal.
- When `<|absent|>` competes it sometimes refuses an answerable question; `absentUsed` shows how often it notices that a name is only used.
- Questions are in English; the code it saw is JavaScript, TypeScript, Python and Go. One seed, no comparison of recipes at this size.
- Beyond {trained} tokens it depends on YaRN, and the figures above are the claim: nothing is promised past {longest_measured}.

License of the weights: MIT.
"""


CONTINUATION = """
The learning rate rose and fell {count} times: the run was continued after held-out figures had been seen, once after each cycle but the last
(definitions after 1024 tokens: 0.899 free and 0.955 among lines, greedily, after the first, 0.913 and 0.969 after the second), so those decisions are the
influence that the held-out files had on the training. The table below is of other files."""


def percent(cell: dict, mode: str) -> str:
    return f"{cell[mode]:.2f}" if mode in cell else "–"


def table(cells: list[dict], length: int, rope: str) -> str:
    title = f"{length} tokens" + ("" if rope == "none" and length <= cells[0]["trained"] else f", {'no scaling' if rope == 'none' else 'YaRN'}")
    rows = [f"**{title}**", "", "| task | n | free | greedy lines | best line | best line or absent | first mention |", "|---|---|---|---|---|---|---|"]
    chosen = {cell["task"]: cell for cell in cells if (cell["length"], cell["rope"]) == (length, rope)}
    for task in TASKS:
        cell = chosen[task]
        values = " | ".join(percent(cell, mode) for mode in MODES)
        rows.append(f"| {task} | {cell['n']} | {values} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    arguments = parser.parse_args()
    recipe = json.loads((arguments.model / "recipe.json").read_text(encoding="utf-8"))
    evaluation = json.loads((arguments.model / "eval.json").read_text(encoding="utf-8"))
    trained = evaluation["trainedLength"]
    cells = [{**cell, "trained": trained} for cell in evaluation["cells"]]
    settings = sorted({(cell["length"], cell["rope"]) for cell in cells})
    corpus, cycles = recipe["corpus"], recipe["training"]["cycles"]
    licences = Counter(package["licence"] for package in corpus["packages"].values())
    model = {**recipe["model"], "parameters": recipe["model"]["parameters"] / 1e6}
    card = CARD.format(
        **model,
        train_files=corpus["files"]["train"],
        heldout_files=corpus["files"]["heldout"],
        fresh_files=evaluation["files"],
        train_megabytes=corpus["bytes"]["train"] / 1e6,
        train_tokens=corpus["tokens"]["train"] / 1e6,
        licences=", ".join(f"{name} ({count})" for name, count in licences.most_common()),
        tokens=recipe["run"]["tokens"] / 1e6,
        steps=recipe["run"]["steps"],
        cycles=", then ".join(", ".join(str(length) for length, _ in cycle["phases"]) for cycle in cycles),
        continuation=CONTINUATION.format(count=len(cycles)) if len(cycles) > 1 else "",
        seed=recipe["training"]["seed"],
        minutes=round(recipe["run"]["seconds"] / 60),
        other_weight=recipe["training"]["other_weight"],
        trained=trained,
        lengths=",".join(map(str, sorted({length for length, _ in settings}))),
        longest_measured=max(length for length, _ in settings),
        tables="\n\n".join(table(cells, length, rope) for length, rope in settings),
    )
    (arguments.model / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
