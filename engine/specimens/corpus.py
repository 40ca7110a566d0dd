"""Collect permissively licensed source files and split them by content.

    python corpus.py --packages DIR --pypi DIR --python DIR --go DIR [--fresh DIR --fresh-python DIR] --out corpus.jsonl

DIR of --packages and --fresh is a folder with a node_modules of installed npm packages, that of --pypi and --fresh-python one of
installed Python packages. The output has one JSON object
a line: path, package, language, split, text. The split is "train", "heldout", or "fresh" for the packages of the two fresh
folders that are in none of the others: the model is judged by them, and nobody looked at them while it was trained. Beside it `corpus.manifest.json`
records packages, versions, licences, counts and the sha256 of every file.
"""

import argparse
import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path

PERMISSIVE = {"MIT", "MIT-0", "ISC", "0BSD", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "BlueOak-1.0.0"}
LANGUAGES = {
    ".ts": "js", ".tsx": "js", ".js": "js", ".mjs": "js", ".cjs": "js", ".py": "py", ".go": "go", ".md": "text", ".rst": "text",
    ".json": "config", ".yml": "config", ".yaml": "config", ".toml": "config", ".ini": "config", ".cfg": "config", ".properties": "config",
}  # fmt: skip
DOCUMENTS = {suffix for suffix, language in LANGUAGES.items() if language in ("text", "config")}
JS_FILES = {suffix for suffix, language in LANGUAGES.items() if language == "js"} | DOCUMENTS
PYTHON_FILES = {".py"} | DOCUMENTS
SKIPPED_FOLDERS = {
    "node_modules", "locale", "locales", "i18n", "umd", "min", "cdn", "bundles", "__pycache__", "site-packages", "vendor",
    "testdata", "test", "tests", "lib2to3", "idlelib", "pydoc_data", "turtledemo", "ensurepip", "encodings",
}  # fmt: skip
SKIPPED_NAMES = re.compile(r"\.min\.|\.d\.[mc]?ts$|\.umd\.|bundle|unicode.*tables|changelog|history|license|-lock\.|_test\.go$|tables\.go$|^z[a-z]+_|rewrite|opGen", re.I)
GENERATED = re.compile(r"Code generated|@generated|auto-?generated|DO NOT EDIT", re.I)
MAX_FILE_BYTES = 200_000
MAX_DOCUMENT_BYTES = 30_000  # of text and configuration: longer ones are data
MAX_LINE_CHARACTERS = 240
MIN_LINES = 8
MAX_PACKAGE_BYTES = 700_000
HELDOUT_SHARE = 0.07
MAX_REPEATED_LINES = 0.5
MAX_HELDOUT_OVERLAP = {"config": 0.5}  # 0.10 for all other languages; `"license": "MIT",` is in every manifest
LONG_LINE = 6  # lines of at least this many word or punctuation pieces count as content
PIECE = re.compile(r"\w+|[^\w\s]+")


def fraction(text: str) -> float:
    """A fixed pseudo-random number in [0, 1) for a name."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def content_lines(text: str) -> set[int]:
    """Hashes of the lines long enough to say something."""
    lines = {line.strip() for line in text.split("\n")}
    return {int.from_bytes(hashlib.blake2b(line.encode(), digest_size=8).digest(), "big") for line in lines if len(PIECE.findall(line)) >= LONG_LINE}


def read_source(path: Path) -> str | None:
    """The text with LF line ends and no trailing blanks, or None for what no one would read as source."""
    if path.stat().st_size > (MAX_DOCUMENT_BYTES if path.suffix in DOCUMENTS else MAX_FILE_BYTES):
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) < MIN_LINES or max(map(len, lines)) > MAX_LINE_CHARACTERS or GENERATED.search("\n".join(lines[:8])):
        return None
    if any("<|" in line for line in lines):
        return None
    return "\n".join(lines)


def source_files(root: Path, extensions: set[str]):
    """Relative paths below root in a fixed order, sources in TypeScript and src/ first: they win over their builds."""
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name not in SKIPPED_FOLDERS)
        for name in names:
            if Path(name).suffix in extensions and not SKIPPED_NAMES.search(name):
                found.append(os.path.relpath(os.path.join(folder, name), root))
    built = re.compile(r"(^|/)(dist|build|cjs|esm|es|es6|lib\.commonjs|_cjs|_esm|commonjs)[^/]*/")
    return sorted(found, key=lambda path: (not path.endswith((".ts", ".tsx")), bool(built.search(path)), fraction(path)))


def npm_packages(folder: Path):
    """(name, version, licence, root) of every installed package, sorted."""
    modules = folder / "node_modules"
    roots = [root for root in modules.iterdir() if not root.name.startswith(("@", "."))]
    roots += [root for scope in modules.glob("@*") for root in scope.iterdir()]
    for root in sorted(roots):
        manifest = root / "package.json"
        if manifest.exists():
            fields = json.loads(manifest.read_text(encoding="utf-8"))
            yield str(root.relative_to(modules)), fields.get("version"), fields.get("license"), root


def is_permissive(licence) -> bool:
    """A licence expression of which every part is permissive."""
    return isinstance(licence, str) and all(part in PERMISSIVE for part in re.split(r" AND | OR ", licence.strip("()")))


def python_packages(folder: Path):
    """(name, version, licence, root) of every package installed with pip --target, sorted; one entry for each top-level name."""
    for info in sorted(folder.glob("*.dist-info")):
        fields = dict(re.findall(r"^(Name|Version|License-Expression|License): (.+)$", (info / "METADATA").read_text(encoding="utf-8"), re.M))
        licence = fields.get("License-Expression", fields.get("License", "unknown"))
        recorded = {line.split(",")[0] for line in (info / "RECORD").read_text(encoding="utf-8").splitlines()}
        for top in sorted({path.split("/")[0] for path in recorded if not path.startswith(("..", info.name))}):
            root = folder / top
            if top not in SKIPPED_FOLDERS and (root.is_dir() or root.suffix == ".py"):
                yield f"{fields['Name'].lower()}/{top}", fields["Version"], licence, root


def collections(arguments):
    """(package, version, licence, root, path prefix, extensions) for everything that may be read."""
    for name, version, licence, root in npm_packages(arguments.packages):
        if is_permissive(licence):
            yield f"npm:{name}", version, licence, root, name, JS_FILES
    yield from pypi_collections(arguments.pypi)
    for source, label, version, licence, extension in (
        (arguments.python, "python", arguments.python_version, "PSF-2.0", ".py"),
        (arguments.go, "go", arguments.go_version, "BSD-3-Clause", ".go"),
    ):
        for entry in sorted(source.iterdir()):
            if entry.is_dir() and entry.name not in SKIPPED_FOLDERS:
                yield f"{label}:{entry.name}", version, licence, entry, entry.name, {extension}
            elif entry.suffix == extension:
                yield f"{label}:{entry.name}", version, licence, entry, "", {extension}


def fresh_collections(arguments):
    """The same for the packages that only judge; after `collections`, whose names win."""
    if arguments.fresh:
        for name, version, licence, root in npm_packages(arguments.fresh):
            if is_permissive(licence):
                yield f"npm:{name}", version, licence, root, name, JS_FILES
    if arguments.fresh_python:
        yield from pypi_collections(arguments.fresh_python)


def pypi_collections(folder: Path):
    for name, version, licence, root in python_packages(folder):
        if is_permissive(licence):
            yield f"pypi:{name}", version, licence, root, root.name if root.is_dir() else "", PYTHON_FILES


def collect(arguments) -> tuple[list[dict], dict]:
    """Every kept file without its split, and the packages it came from."""
    files, packages, seen = [], {}, set()
    named = [(entry, False) for entry in collections(arguments)]
    known = {entry[0] for entry, _ in named}
    named += [(entry, True) for entry in fresh_collections(arguments) if entry[0] not in known]
    for (package, version, licence, root, prefix, extensions), fresh in named:
        size = 0
        relative_paths = [root.name] if root.is_file() else source_files(root, extensions)
        for relative in relative_paths:
            text = read_source(root if root.is_file() else root / relative)
            if text is None:
                continue
            lines = content_lines(text)
            if len(lines) < 4 or len(lines & seen) > MAX_REPEATED_LINES * len(lines):
                continue
            seen |= lines
            size += len(text)
            if size > MAX_PACKAGE_BYTES:
                break
            path = f"{prefix}/{relative}" if prefix else relative
            files.append({"path": path, "package": package, "language": LANGUAGES[Path(relative).suffix], "text": text, "split": "fresh" if fresh else ""})
            packages[package] = {"version": version, "licence": licence}
    return files, packages


def split(files: list[dict]) -> list[dict]:
    """Hold out whole packages, then drop held-out and fresh files that share more than a tenth of their lines with training."""
    for file in files:
        if not file["split"]:
            file["split"] = "heldout" if fraction("split:" + file["package"]) < HELDOUT_SHARE else "train"
    trained = set().union(*(content_lines(file["text"]) for file in files if file["split"] == "train"))
    kept = []
    for file in files:
        lines = content_lines(file["text"])
        if file["split"] == "train" or len(lines & trained) <= MAX_HELDOUT_OVERLAP.get(file["language"], 0.10) * len(lines):
            kept.append(file)
    return kept


def manifest_of(files: list[dict], packages: dict) -> dict:
    hashes = sorted(f"{file['split']} {file['path']} {hashlib.sha256(file['text'].encode()).hexdigest()}" for file in files)
    fresh = [line for line in hashes if line.startswith("fresh ")]
    hashes = [line for line in hashes if not line.startswith("fresh ")]
    used = {file["package"] for file in files}
    heldout = sorted({file["package"] for file in files if file["split"] == "heldout"})
    return {
        "sha256": hashlib.sha256("\n".join(hashes).encode()).hexdigest(),
        "freshSha256": hashlib.sha256("\n".join(fresh).encode()).hexdigest(),
        "files": dict(Counter(file["split"] for file in files)),
        "bytes": {name: sum(len(f["text"].encode()) for f in files if f["split"] == name) for name in ("train", "heldout", "fresh")},
        "filesByLanguage": dict(Counter(f"{file['split']}/{file['language']}" for file in files)),
        "heldoutPackages": heldout,
        "packages": {name: packages[name] for name in sorted(used)},
        "fileHashes": hashes + fresh,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--pypi", type=Path, required=True, help="folder of Python packages installed with pip --target")
    parser.add_argument("--python", type=Path, required=True, help="folder of the Python standard library")
    parser.add_argument("--python-version", default="3.11.7")
    parser.add_argument("--go", type=Path, required=True, help="folder src of a Go distribution")
    parser.add_argument("--go-version", default="unknown")
    parser.add_argument("--fresh", type=Path, help="folder with a node_modules of packages that only judge")
    parser.add_argument("--fresh-python", type=Path, help="folder of installed Python packages that only judge")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--record", type=Path, help="also write the manifest without the hashes of single files, as corpus.json here")
    arguments = parser.parse_args()
    files, packages = collect(arguments)
    files = split(files)
    with arguments.out.open("w", encoding="utf-8") as out:
        for file in files:
            out.write(json.dumps(file, ensure_ascii=False) + "\n")
    manifest = manifest_of(files, packages)
    arguments.out.with_suffix(".manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    if arguments.record:
        record = {key: value for key, value in manifest.items() if key != "fileHashes"}
        arguments.record.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: manifest[key] for key in ("sha256", "freshSha256", "files", "bytes", "filesByLanguage")}))


if __name__ == "__main__":
    main()
