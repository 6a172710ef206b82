#!/usr/bin/env python3
"""Splits support-ru.tsv into train.tsv, valid.tsv and test.tsv: 70, 10 and 20 %, the same shares of every label.

    python3 scripts/split-support-ru.py SOURCE.tsv data/support-ru

Rows whose texts are equal but for case, punctuation and blanks go into the same part. Which part is decided by hashes of the texts,
so the split doesn't depend on the order of the source or on a random number generator. Rows keep the source's order.
"""
import hashlib
import pathlib
import re
import sys

SHARES = {"test": 0.2, "valid": 0.1}  # the rest is train


def key(text):
    """What two texts have in common that are the same to a reader."""
    return " ".join(re.findall(r"\w+", text.lower().replace("ё", "е"))) or text.strip()


def assign(rows):
    """The part of each key: within a label, keys in the order of their hashes fill test, then valid, then train."""
    by_label = {}
    for text, label, _ in rows:
        by_label.setdefault(label, {}).setdefault(key(text), 0)
        by_label[label][key(text)] += 1
    part_of = {}
    for label, counts in sorted(by_label.items()):
        keys = sorted((k for k in counts if k not in part_of), key=lambda k: hashlib.sha256(k.encode()).digest())
        total, done = sum(counts[k] for k in keys), 0
        for k in keys:
            if done < SHARES["test"] * total:
                part_of[k] = "test"
            elif done < (SHARES["test"] + SHARES["valid"]) * total:
                part_of[k] = "valid"
            else:
                part_of[k] = "train"
            done += counts[k]
    return part_of


def main(source, folder):
    lines = pathlib.Path(source).read_text(encoding="utf-8").rstrip("\n").split("\n")
    header, rows = lines[0], [line.split("\t") for line in lines[1:]]
    part_of = assign(rows)
    for part in ("train", "valid", "test"):
        chosen = ["\t".join(row) for row in rows if part_of[key(row[0])] == part]
        path = pathlib.Path(folder) / f"{part}.tsv"
        path.write_text("\n".join([header, *chosen]) + "\n", encoding="utf-8", newline="\n")
        print(f"{path}: {len(chosen)} rows")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
