"""Write the model card of a specimen from its recipe.json, training.jsonl and eval.json.

    python card.py --model DIR
"""

import argparse
import json
from pathlib import Path

from report import ASK, at, bars, learning_table, setting, sibling_table, task_table

MECHANISMS = {
    "rope": "a transformer with rotary positions (RoPE, rotate-half, theta 10000)",
    "alibi": "a transformer with linear attention biases (ALiBi, slopes 2^-2 to 2^-8) and no other positions",
    "mamba": "Mamba: selective state spaces of 16 numbers a channel, no attention",
    "rwkv7": "RWKV-7: matrix states with the generalised delta rule, no attention",
    "ask": "a transformer with rotary positions (RoPE, rotate-half, theta 10000), larger than the siblings and trained on longer contexts",
}

CARD = """\
---
license: mit
tags: [extractive-question-answering, code, long-context]
---
# {title}

{parameters:.2f} M parameters, {mechanism}. It answers a question about a code context by copying lines of it verbatim, or says that the context
does not hold the answer. Trained from scratch by the scripts in `engine/specimens` on contexts of at most **{trained} tokens**. {purpose}

## Prompt

For every file a line `=== path ===`, then its lines; then `Q: <question>`, a line break and `A: `. The answer is one line of the context without its
indentation, or the token `<|absent|>`; it ends with a line break. Where several lines answer (all values of a key, several keys, a chain of variables)
each further one follows behind its own `A: `; an answer is over when the next token is not `A`.

What it was taught: where a name is defined, its parameters, the value of a constant, the only return line of a function, the import of a module
or symbol, the only call of a name, the comment above or the docstring of a definition, the value of a configuration key, the file that defines a name,
planted magic numbers and variable chains in the style of RULER, and names without an answer.

## Architecture

{architecture}. Matrices are stored as float16, rounded to the 8 significant bits of bfloat16. Tied embeddings, the input row multiplied by {embedding_multiplier:g}, the output table not.{shift}

## Data

{train_files:,} training files ({train_megabytes:.0f} MB, {train_tokens:.1f} M tokens): source, documentation and configuration of npm and PyPI packages, of the
Python standard library and of the Go standard library, all of permissive licences; `engine/specimens/corpus.json` lists every package with its version and
licence. Whole packages were held out, and every held-out file of which more than a tenth of the lines occur in a training file was dropped (half of them, for
configuration files). The tokenizer saw the training split only.

## Training

{tokens:.1f} M tokens in {steps:,} steps of {batch} tokens; packs of {lengths} tokens; seed {seed}; {minutes} minutes of processor time on a shared two-core machine
without a GPU. {grown}One run, the last checkpoint, none selected. `recipe.json` has every hyper-parameter, `training.jsonl` the learning curve on held-out packs:

{curve}

## Accuracy

Exact match of the whole answer, one question alone behind a context, on {fresh_files:,} files of packages that are in no other split. *Free*: greedy over the
whole vocabulary. *Among lines*: greedy, but only tokens that continue a line of the context are allowed. *Lines or absent*: the same, with `<|absent|>` as a
candidate for the first token.{asked} *Refused*: the share of answerable questions that it would refuse. *Search*: no model, the first line that holds the name.

At the trained length of {trained} tokens:

{tasks}

Over all questions that have an answer, free / among lines, by multiples of the trained length:

{scalings}
{more}
    {command}

reproduces the figures; the corpus is made as `engine/specimens/README.md` says.

## Limits

- It finds lines by names: descriptions of behaviour are not understood. Names defined twice in the context were never asked about.
- *Search* is strong on definitions, constants, imports and needles; what the model adds is `defHard`, returns, comments, files and refusals.
- Questions are in English; the code is JavaScript, TypeScript, Python and Go. One seed; every figure is of this one run.

License of the weights: MIT.
"""

SIBLING = (
    "One of four siblings that differ in their mechanism only: same tokenizer, same packs in the same order, same number of tokens, same optimiser. It was trained "
    "short so that every way of going long can be seen working or failing on it."
)
AS_ASKED = (
    " *As the extension asks*: recognised questions in trained words, the most probable line as a whole among those that can answer, around the definition where "
    "the answer stands there (`engine/specimens/asking.py`). *Unseen wordings*: by somebody who saw neither those of the training nor how the extension reads questions."
)
LEARNING = """
The bars at the trained length, free / among lines, by the tokens trained behind the model it grew from; the two cycles of these weights, and two third ones
that were trained behind them, measured and not taken:

{table}

What is missing is knowing which line belongs to which name. Answers of these weights on held-out contexts show it: asked what two functions of one context
return, it mostly gives the same line twice; it has learned which lines could answer, because in most packs so few could that a guess pays. 25.7 M: the third
cycle of commit `756e8b3`, which drilled the steps to such answers on any line of a context; it reached no missed bar, and imports fell. 26.2 M: the third
cycle of `train.py` as it is, half of it packs of short definitions side by side, where a guess is worth nothing, with probes that make the states of a
returned line carry the name around it, and those of a name the comment and the path above it (`links.py`). By the end the probes are right in nine
of ten cases (but for the third word of a comment), returns and comments get better, and signatures, constants, imports and files get worse: what is known half way is
not yet looked up by the layers behind it, and five million parameters have little room for both. A larger model on a GPU would come next; two processor cores
train this one at 2,500 to 3,500 tokens a second.
The extension does not wait for that: it has the definition found first and lets the model choose among the lines around it.
"""
ASKED = "It is the model that answers when no other is opened. Small as it is, it is no general assistant."


def curve(lines: list[str]) -> str:
    rows = ["| M tokens | pack | loss | answers at 256 | at 512 | at 1024 |", "|---|---|---|---|---|---|"]
    entries = [json.loads(line) for line in lines]
    for entry in entries[:: max(1, len(entries) // 12)] + entries[-1:]:
        exact = " | ".join(f"{entry['heldout'][length]['exact']:.2f}" for length in ("256", "512", "1024"))
        rows.append(f"| {entry['tokens'] / 1e6:.1f} | {entry['length']} | {entry['loss']:.2f} | {exact} |")
    return "\n".join(dict.fromkeys(rows))


def architecture(config: dict) -> str:
    if config["model_type"] == "mamba":
        return f"Hidden size {config['hidden_size']}, {config['num_hidden_layers']} layers of {config['intermediate_size']} channels, {config['state_size']} states each, convolution of {config['conv_kernel']} taps"
    heads = config.get("num_attention_heads", config.get("num_heads"))
    shape = f"Hidden size {config['hidden_size']}, {config['num_hidden_layers']} layers, {heads} heads of {config['head_dim']}, feed-forward width {config['intermediate_size']}"
    return shape if config["model_type"] == "rwkv7" else shape + f", {config['num_key_value_heads']} KV head, QK-norm, SwiGLU, RMSNorm"


def grown(recipe: dict) -> str:
    """Where the weights began, for a model that grew out of a smaller one."""
    before = recipe.get("grownFrom")
    if before is None:
        return ""
    return (
        f"It began with the weights of a transformer of {max(before['layers']) + 1} layers, trained on {before['run']['tokens'] / 1e6:.1f} M tokens of an earlier split "
        f"by the same scripts in an earlier state; layers {before['layers']} of it in this order, a repeated one with outputs of zero. "
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    arguments = parser.parse_args()

    def read(name: str) -> dict:
        return json.loads((arguments.model / f"{name}.json").read_text(encoding="utf-8"))

    config, recipe, evaluation = read("config"), read("recipe"), read("eval")
    title, corpus, training = arguments.model.name, recipe["corpus"], recipe["training"]
    is_attention = config["model_type"] == "lcp_keyshift"
    unscaled = [cell for cell in at(evaluation["cells"], 1) if setting(cell) == ("none", False)]
    card = CARD.format(
        title=title,
        mechanism=MECHANISMS[recipe["model"]["name"]],
        parameters=recipe["model"]["parameters"] / 1e6,
        trained=evaluation["trainedLength"],
        purpose=ASKED if title == ASK else SIBLING,
        architecture=architecture(config),
        embedding_multiplier=config["embedding_multiplier"],
        shift=" Each key is mixed with the raw key of the token before, `(1 - g) k_t + g k_(t-1)`, with a learned gate per KV head and channel: what Mamba's convolution "
        "and RWKV's token shift do." if is_attention else "",
        train_files=corpus["files"]["train"],
        train_megabytes=corpus["bytes"]["train"] / 1e6,
        train_tokens=corpus["tokens"]["train"] / 1e6,
        tokens=recipe["run"]["tokens"] / 1e6,
        steps=recipe["run"]["steps"],
        batch=training["batch_tokens"],
        lengths=", then ".join(", ".join(str(length) for length, _ in cycle["phases"]) for cycle in training["cycles"]),
        seed=training["seed"],
        minutes=round(recipe["run"]["cpuSeconds"] / 60),
        grown=grown(recipe),
        curve=curve((arguments.model / "training.jsonl").read_text(encoding="utf-8").splitlines()),
        fresh_files=evaluation["files"],
        tasks=task_table(unscaled),
        scalings=sibling_table({title: evaluation}),
        asked=AS_ASKED if title == ASK else "",
        command=evaluation["command"],
        more=f"\n{bars(evaluation)}\n{LEARNING.format(table=learning_table(read('learning'), recipe['run']['tokens']))}" if title == ASK else "",
    )  # fmt: skip
    (arguments.model / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
