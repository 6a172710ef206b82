#!/usr/bin/env python3
"""lint.py: checks every #include against the layers of the design, and a few rules that a compiler doesn't know."""
import pathlib
import re
import sys

LAYER = {
    "base": 0, "kernels": 1, "config": 2, "text": 2, "weights": 2, "data": 3, "nn": 3, "train": 4, "infer": 4,
    "track": 5, "serve": 5, "report": 5, "cli": 6,
}
# The layer of each public header is that of its module.
PUBLIC = {
    "error": "base", "config": "config", "tokenizer": "text", "vocab": "text", "weights": "weights", "data": "data", "model": "nn",
    "train": "train", "predict": "infer",
}
ROOT = pathlib.Path(__file__).resolve().parent.parent
LONGEST_FILE, LONGEST_LINE = 600, 140


def module_of(path):
    parts = path.relative_to(ROOT).parts
    if parts[0] == "kernels":
        return "kernels"
    if parts[0] == "include":
        return PUBLIC.get(path.stem)
    return parts[1]


def module_of_include(name):
    parts = name.split("/")
    if parts[0] == "bertft":
        return PUBLIC.get(parts[1].removesuffix(".h"))
    return parts[0] if len(parts) > 1 else None


def check_includes(path, lines):
    here = module_of(path)
    if here not in LAYER:
        yield 1, f"belongs to no layer: add it to {pathlib.Path(__file__).name}"
        return
    for number, line in enumerate(lines, 1):
        match = re.match(r'#include "([^"]+)"', line)
        there = match and not match[1].startswith("tests/cudasim/") and module_of_include(match[1])
        if not there:
            continue
        if there not in LAYER:
            yield number, f"{match[1]}: unknown module"
        elif LAYER[there] > LAYER[here]:
            yield number, f"{here} (layer {LAYER[here]}) includes {match[1]} of {there} (layer {LAYER[there]})"


def generated(path):
    return path.name == "unicode_table.c"


def check_text(path, lines):
    if len(lines) > LONGEST_FILE and not generated(path):
        yield len(lines), f"{len(lines)} lines: more than one subject?"
    if not lines or not lines[0].startswith("/*"):
        yield 1, "a first comment that says what the file owns is missing"
    for number, line in enumerate(lines, 1):
        if len(line) > LONGEST_LINE and not generated(path):
            yield number, f"{len(line)} columns"
        if "\t" in line or line != line.rstrip():
            yield number, "a tab, or blanks at the end of the line"


def main():
    failures = 0
    files = [path for folder in ("include", "src", "kernels") for path in sorted((ROOT / folder).rglob("*"))
             if path.suffix in (".c", ".h", ".cu", ".cuh")]
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        for check in (check_includes, check_text):
            for number, what in check(path, lines):
                print(f"{path.relative_to(ROOT)}:{number}: {what}")
                failures += 1
    print(f"{len(files)} files checked, {failures} complaints")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
