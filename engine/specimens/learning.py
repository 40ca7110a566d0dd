"""How the bars of the default model move with training: its evaluations behind several amounts of it, in one file.

    python learning.py --out DIR/learning.json TOKENS=EVAL.json ...

TOKENS are those trained behind the model it grew from, 0 for that model itself; EVAL.json is what evaluate.py wrote for the weights of then.
Kept are the cells at the trained length in the training's wordings.
"""

import argparse
import json
from pathlib import Path

from report import at

KEPT = ("task", "n", "free", "lines", "search")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("evaluations", nargs="+")
    arguments = parser.parse_args()
    points = []
    for evaluation in arguments.evaluations:
        tokens, path = evaluation.split("=", 1)
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        cells = [{key: cell[key] for key in KEPT if key in cell} for cell in at(report["cells"], 1)]
        points.append({"tokens": int(tokens), "split": report["split"], "trainedLength": report["trainedLength"], "cells": cells})
    arguments.out.write_text(json.dumps({"points": sorted(points, key=lambda point: point["tokens"])}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
