#!/usr/bin/env python3
"""Compares our CSV and TSV rows with those of Python's csv module over random files.

    python3 tests/parity/csv_rows.py build/tests/csv_dump [FILES] [SEED]

Half of the files are written by csv.writer from random fields, half are random characters, where both readers must
also refuse the same row.
"""
import csv
import pathlib
import random
import subprocess
import sys
import tempfile

PIECES = ["a", "b", "é", "Ж", "😀", " ", '"', '""', ",", "\t", "\n", "\r\n", "'", "\\", ";", "\x00", "\xa0",
          "\ufeff"]
SOUP = ['"', '"', ",", "\n", "\r\n", "a", "b", " ", "ж"]
BATCH = 200


def written(rng, tabs):
    """A file as csv.writer makes it. A lone CR ends a row for Python and is text for us: only quoted fields have it."""
    quote_all = not tabs and rng.random() < 0.3
    pieces = [p for p in PIECES if not tabs or p not in ("\t", "\n", "\r\n")] + (["\r"] if quote_all else [])
    rows = [["".join(rng.choices(pieces, k=rng.randrange(6))) for _ in range(rng.randrange(1, 5))]
            for _ in range(rng.randrange(6))]
    ending = rng.choice(["\n", "\r\n"])
    if tabs:
        return ending.join("\t".join(row) for row in rows)
    with tempfile.TemporaryFile("w+", newline="", encoding="utf-8") as file:
        quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
        csv.writer(file, lineterminator=ending, quoting=quoting).writerows(rows)
        file.seek(0)
        text = file.read()
    return text[: -len(ending)] if text and rng.random() < 0.2 else text


def soup(rng, tabs):
    pieces = ['"', "\t", "\n", "\r\n", "a", " "] if tabs else SOUP
    return "".join(rng.choices(pieces, k=rng.randrange(25)))


def python_rows(path, tabs):
    options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
    rows = []
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            for row in csv.reader(file, **options):
                if row:  # an empty line is a row of no fields there, and passed over here
                    rows.append(row)
        except csv.Error:
            rows.append(None)
    return rows


def our_rows(dump, kind, paths):
    out = subprocess.run([dump, kind, *paths], stdout=subprocess.PIPE, check=True).stdout.decode()
    files = []
    for line in out.splitlines():
        if line == "F":
            files.append([])
        elif None not in files[-1]:  # behind a refused row Python stops
            fields = None if line == "E" else [bytes.fromhex(f).decode() for f in line[2:].split(" ")]
            files[-1].append(fields)
    return files


def main(dump, count=4000, seed=1):
    rng = random.Random(seed)
    rows = refused = differences = 0
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, count, BATCH):
            tabs = start // BATCH % 4 == 3
            paths = [str(pathlib.Path(folder) / str(i)) for i in range(BATCH)]
            for path in paths:
                make = written if rng.random() < 0.5 else soup
                pathlib.Path(path).write_bytes(make(rng, tabs).encode())
            for path, ours in zip(paths, our_rows(dump, "tsv" if tabs else "csv", paths), strict=True):
                theirs = python_rows(path, tabs)
                rows += len(theirs)
                refused += None in theirs
                if ours != theirs:
                    differences += 1
                    print(f"{pathlib.Path(path).read_bytes()!r}\n  ours   {ours}\n  python {theirs}")
    print(f"csv: {count} files, {rows} rows, {refused} refused rows, {differences} differences")
    return differences != 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
