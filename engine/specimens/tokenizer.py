"""Train the 4096-entry byte-level BPE on the training split.

    python tokenizer.py --corpus corpus.jsonl --out DIR

The pre-tokenizer keeps every identifier a piece of its own, never merged with a neighbouring blank, so a name
has the same tokens in the question, in the code and in the answer. A line break is one token, so text is the
concatenation of separately encoded lines, and a line without its indentation has the tokens of the whole line
after the leading blank ones.
"""

import argparse
import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from questions import ABSENT, TEMPLATES

VOCAB_SIZE = 4096
SPECIAL_TOKENS = ["<|end|>", "<|pad|>", ABSENT]
# Valid in Oniguruma and as a JavaScript regular expression with the flag u. No \s, \w or \b: engines differ on them.
PATTERN = r"\n|[A-Za-z_$][A-Za-z0-9_$]*|[0-9]+|(?<=[A-Za-z0-9_$]) [^ \t\r\nA-Za-z0-9_$]+ ?|[^ \t\r\nA-Za-z0-9_$]+ ?|[ \t\r]+"
MAX_PACKAGE_CHARACTERS = 400_000
MAX_CHARACTERS = 16_000_000
SEED = 1


def training_texts(corpus: Path) -> list[str]:
    with corpus.open(encoding="utf-8") as lines:
        files = [file for file in map(json.loads, lines) if file["split"] == "train"]
    random.Random(SEED).shuffle(files)
    texts, per_package, total = [], {}, 0
    for file in files:
        text = f"=== {file['path']} ===\n{file['text']}\n"
        used = per_package.get(file["package"], 0)
        if used > MAX_PACKAGE_CHARACTERS or total > MAX_CHARACTERS:
            continue
        per_package[file["package"]] = used + len(text)
        total += len(text)
        texts.append(text)
    prompts = [f"Q: {wording.format(name='`x`')}\nA: \n" for wordings in TEMPLATES.values() for wording in wordings]
    return texts + prompts * 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_texts(arguments.corpus), trainer)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(arguments.out / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 131072,
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": False,
        "add_bos_token": False,
        "add_eos_token": False,
    }
    (arguments.out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    print("vocabulary", tokenizer.get_vocab_size(), "newline", tokenizer.encode("\n").ids)


if __name__ == "__main__":
    main()
