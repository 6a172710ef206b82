#!/usr/bin/env python3
"""peer_start.py: what `bertft predict --lines` is held against from exec to output: the usual script around transformers.

    bench/peer_start.py FOLDER < LINES
"""
import sys

from transformers import pipeline

classify = pipeline("text-classification", model=sys.argv[1])
for line in sys.stdin:
    answer = classify(line.rstrip("\n"))[0]
    print(f"{answer['label']}\t{answer['score']:.6f}", flush=True)
