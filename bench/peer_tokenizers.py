#!/usr/bin/env python3
"""peer_tokenizers.py: the tokenizers library's side of the tokenizer rows: a worker that answers one JSON line for each on its stdin.

    bench/peer_tokenizers.py FOLDER LINES

A line that is a number asks for as many passes of encode_batch_fast over all lines: {"bytes": B, "seconds": [...], "tokens": N,
"sum": of the ids}, as bench/tokenize.c answers. RAYON_NUM_THREADS says how many threads there are.
"""
import pathlib
import sys
import time

from worker import open_tokenizer, serve


def make():
    tokenizer = open_tokenizer(pathlib.Path(sys.argv[1]))
    text = pathlib.Path(sys.argv[2]).read_text(encoding="utf-8")
    lines = text.split("\n")[:-1]

    def answer(passes):
        seconds = []
        for _ in range(passes):
            since = time.perf_counter()
            encodings = tokenizer.encode_batch_fast(lines)
            seconds.append(time.perf_counter() - since)
        return {"bytes": len(text.encode()), "seconds": seconds, "tokens": sum(len(e.ids) for e in encodings),
                "sum": sum(sum(e.ids) for e in encodings)}

    return answer


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: peer_tokenizers.py FOLDER LINES")
    serve(make)


if __name__ == "__main__":
    main()
