"""Write the cases of the evaluation for another implementation to score: token ids only, so that it needs no tokenizer.

    python cases.py --corpus corpus.jsonl --model DIR [--length 512] [--contexts 0.25] --out cases.json

Every case has the ids of a context, those of its different lines, and rows of (task, prompt, answer); the wordings are those of the training.
"""

import argparse
import json
from pathlib import Path

from tokenizers import Tokenizer

from evaluate import CONTEXTS, Case
from library import Library


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--split", choices=["heldout", "fresh"], default="fresh")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--contexts", type=float, default=1.0, help="share of the contexts")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    library = Library(arguments.corpus, Tokenizer.from_file(str(arguments.model / "tokenizer.json")), arguments.split)
    cases = []
    for index in range(max(1, round(CONTEXTS[arguments.length] * arguments.contexts))):
        case = Case(library, arguments.length, index)
        rows = [{"task": task, "prompt": prompt, "answer": answer} for (task, _), (prompt, answer) in zip(case.chosen, case.rows["seen"])]
        cases.append({"ids": case.context.ids, "lines": case.lines.rows, "rows": rows})
    tokens = {"newline": library.newline, "asks": library.asks, "answers": library.answers, "end": library.end, "absent": library.absent}
    arguments.out.write_text(json.dumps({"length": arguments.length, "tokens": tokens, "cases": cases}) + "\n", encoding="utf-8")
    print(len(cases), "contexts,", sum(len(case["rows"]) for case in cases), "questions")


if __name__ == "__main__":
    main()
