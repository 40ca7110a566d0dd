"""Evaluate every bundled specimen and print the tables; what `npm run eval:specimens` calls. Needs nothing but Python itself.

    npm run eval:specimens                     the tables of the recorded evaluations
    npm run eval:specimens -- --work WORK      measured anew, with WORK/venv and WORK/corpus.jsonl (README.md says how they are made)

Further arguments go to evaluate.py.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from report import ASK, SIBLINGS

HERE = Path(__file__).parent
MODELS = HERE.parents[1] / "media" / "specimens"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    arguments, rest = parser.parse_known_args()
    if arguments.work is None:
        print("recorded evaluations; --work WORK measures anew", flush=True)
        return subprocess.call([sys.executable, str(HERE / "report.py")])
    python, corpus = arguments.work / "venv" / "bin" / "python", arguments.work / "corpus.jsonl"
    for needed in (python, corpus):
        if not needed.exists():
            print(f"{needed} is missing: make it with the commands in engine/specimens/README.md", file=sys.stderr)
            return 2
    for name in [*SIBLINGS, ASK]:
        if (MODELS / name).is_dir():
            print(f"\n{name}", flush=True)
            subprocess.check_call([str(python), str(HERE / "evaluate.py"), "--corpus", str(corpus), "--model", str(MODELS / name), *rest])
    return subprocess.call([sys.executable, str(HERE / "report.py")])


if __name__ == "__main__":
    sys.exit(main())
