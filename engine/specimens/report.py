"""Tables of the measured accuracy, from the eval.json of every specimen; needs nothing but Python.

    python report.py [--models ../../media/specimens]
"""

import argparse
import json
from pathlib import Path

SIBLINGS = ["rope-4m", "alibi-4m", "mamba-4m", "rwkv7-4m"]  # folders of media/specimens
ASK = "ask-5m"
# What the default model of Ask is held to: (what, multiple of the trained length, tasks, mode, bar).
BARS = [
    ("definitions that are not the first mention, free", 1, ["defHard"], "free", 0.90),
    ("definitions that are not the first mention, among lines", 1, ["defHard"], "lines", 0.98),
    *((f"{task}, free", 1, [task], "free", 0.70) for task in ("return", "comment", "const", "signature", "import", "file")),
    *((f"{task}, among lines", 1, [task], "lines", 0.80) for task in ("return", "comment", "const", "signature", "import", "file")),
    ("definitions, free", 8, ["def"], "free", 0.75),
    ("definitions, among lines", 8, ["def"], "lines", 0.93),
    ("needle, among lines", 8, ["needle"], "lines", 0.99),
    ("needle among several keys, among lines", 8, ["needleKeys"], "lines", 0.95),
    ("refusals of what cannot be answered", 1, ["absentUnseen", "absentUsed"], "refusable", 0.80),
]


def shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def mean(cells: list[dict], mode: str) -> tuple[float | None, int]:
    """The share of right answers over all questions of some cells."""
    counted = [(cell[mode], cell["n"]) for cell in cells if mode in cell]
    total = sum(n for _, n in counted)
    return (sum(rate * n for rate, n in counted) / total, total) if total else (None, 0)


def answerable(cells: list[dict]) -> list[dict]:
    return [cell for cell in cells if not cell["task"].startswith("absent") and cell["task"] != "defHard"]


def setting(cell: dict) -> tuple[str, bool]:
    return cell["scaling"], cell["temperature"]


def at(cells: list[dict], multiple: int, wording: str = "seen") -> list[dict]:
    return [cell for cell in cells if cell["multiple"] == multiple and cell["wording"] == wording]


def best_setting(cells: list[dict]) -> tuple[str, bool]:
    """The scaling with most right answers among lines at one length."""
    return max(sorted({setting(cell) for cell in cells}), key=lambda one: mean(answerable([c for c in cells if setting(c) == one]), "lines")[0])


def task_table(cells: list[dict]) -> str:
    """Every task under one setting."""
    modes = {"free": "free", "lines": "among lines", "refusable": "lines or absent", "asked": "as the extension asks", "refused": "refused", "search": "search"}
    modes = {mode: title for mode, title in modes.items() if any(mode in cell for cell in cells)}
    rows = [f"| task | n | {' | '.join(modes.values())} |", "|---|---|" + "---|" * len(modes)]
    for cell in cells:
        values = " | ".join(shown(cell.get(mode)) for mode in modes)
        rows.append(f"| {cell['task']} | {cell['n']} | {values} |")
    return "\n".join(rows)


def sibling_table(reports: dict[str, dict]) -> str:
    """Siblings and scalings against lengths: free / among lines over all answerable questions."""
    multiples = sorted({cell["multiple"] for report in reports.values() for cell in report["cells"]})
    rows = ["| sibling | scaling | " + " | ".join(f"{m}×" for m in multiples) + " |", "|---|---|" + "---|" * len(multiples)]
    for name, report in reports.items():
        for scaling, hot in sorted({setting(cell) for cell in report["cells"]}):
            values = []
            for multiple in multiples:
                cells = answerable([cell for cell in at(report["cells"], multiple) if setting(cell) == (scaling, hot)])
                values.append(" / ".join(shown(mean(cells, mode)[0]) for mode in ("free", "lines")) if cells else "")
            rows.append(f"| {name} | {scaling}{' + temperature' if hot else ''} | " + " | ".join(values) + " |")
    return "\n".join(rows)


def bars(report: dict) -> str:
    rows = ["| bar | wanted | the model alone | | as the extension asks | | n |", "|---|---|---|---|---|---|---|"]
    cells = report["cells"]
    for what, multiple, tasks, mode, bar in BARS:
        there = at(cells, multiple)
        if not there:
            continue
        best = best_setting(there)
        asked = [cell for cell in there if setting(cell) == best and cell["task"] in tasks]
        value, n = mean(asked, mode)
        # The extension spells nothing freely.
        other = None if mode == "free" else mean(asked, "asked")[0]
        rows.append(f"| {what}, {multiple}× | {bar:.2f} | {verdict(value, bar)} | {verdict(other, bar)} | {n} |")
    refused, n = mean(answerable(at(cells, 1)), "refused")
    rows.append(f"| false refusals, 1× (at most) | 0.10 | {verdict(refused, 0.10, -1)} | – | | {n} |")
    losses = [loss_by_wording(cells, mode) for mode in ("lines", "asked")]
    rows.append(f"| loss by unseen wordings, 1× (at most) | 0.05 | {' | '.join(verdict(loss, 0.05, -1) for loss in losses)} | |")
    return "\n".join(rows)


def learning_table(learning: dict, shipped: int) -> str:
    """The bars at the trained length, free / among lines, by the tokens trained; the shipped weights are marked."""
    tasks = list(dict.fromkeys(task for _, multiple, tasks, mode, _ in BARS if multiple == 1 and mode == "free" for task in tasks))
    wanted = {(task, mode): bar for _, multiple, (task, *_), mode, bar in BARS if multiple == 1}
    points = learning["points"]
    titles = [f"{point['tokens'] / 1e6:.1f} M{' (these)' if point['tokens'] == shipped else ''}" for point in points]
    rows = ["| task | wanted | " + " | ".join(titles) + " |", "|---|---|" + "---|" * len(points)]
    for task in tasks:
        values = []
        for point in points:
            cell = next((cell for cell in point["cells"] if cell["task"] == task), {})
            values.append(f"{shown(cell.get('free'))} / {shown(cell.get('lines'))}")
        rows.append(f"| {task} | {shown(wanted[task, 'free'])} / {shown(wanted[task, 'lines'])} | " + " | ".join(values) + " |")
    return "\n".join(rows)


def verdict(value: float | None, bar: float, sign: int = 1) -> str:
    """Two cells: the value, and whether it is at least the bar (with a sign of -1: at most)."""
    return f"{shown(value)} | {'' if value is None else 'met' if sign * value >= sign * bar else 'missed'}"


def loss_by_wording(cells: list[dict], mode: str) -> float | None:
    seen, unseen = (mean(answerable(at(cells, 1, wording)), mode)[0] for wording in ("seen", "unseen"))
    return None if seen is None or unseen is None else seen - unseen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[2] / "media" / "specimens")
    arguments = parser.parse_args()
    reports = {}
    for name in [*SIBLINGS, ASK]:
        path = arguments.models / name / "eval.json"
        if path.exists():
            reports[name] = json.loads(path.read_text(encoding="utf-8"))
            print(f"\n## {name}, trained length {reports[name]['trainedLength']}\n\n{task_table(at(reports[name]['cells'], 1))}")
    if not reports:
        print(f"no specimen in {arguments.models} has an eval.json yet: README.md says how they are made")
    siblings = {name: report for name, report in reports.items() if name in SIBLINGS}
    if siblings:
        print(f"\n## Siblings, free / among lines over all questions with an answer\n\n{sibling_table(siblings)}")
    if ASK in reports:
        print(f"\n## Bars for the default model of Ask\n\n{bars(reports[ASK])}")
        learning, recipe = (json.loads((arguments.models / ASK / f"{name}.json").read_text(encoding="utf-8")) for name in ("learning", "recipe"))
        print(f"\n## The same, free / among lines, by tokens trained\n\n{learning_table(learning, recipe['run']['tokens'])}")


if __name__ == "__main__":
    main()
