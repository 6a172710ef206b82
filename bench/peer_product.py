#!/usr/bin/env python3
"""peer_product.py: a library's side of the rows of matrix products: a worker that answers a number of runs with their seconds.

    bench/peer_product.py LIBRARY TYPE ROWS IN OUT THREADS

LIBRARY is onednn (the one inside PyTorch, its weights packed beforehand, a bias added) or openblas (the one inside NumPy, no
bias). TYPE is fp32, bf16 (in and out) or int8 (activations that are 8 bits already, fp32 out).
"""
import re
import sys
import time

from worker import serve


def onednn(kind, rows, inner, out, threads):
    import torch
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    bias, none = torch.rand(out), ("none", [], "")
    if kind == "int8":
        weight = torch.randint(-127, 128, (out, inner), dtype=torch.int8)
        packed = torch.ops.onednn.qlinear_prepack(weight, [rows, inner])
        x, scales = torch.randint(0, 256, (rows, inner), dtype=torch.uint8), torch.full((out,), 0.01)
        points = torch.zeros(out, dtype=torch.int32)
        return lambda: torch.ops.onednn.qlinear_pointwise(x, 0.01, 128, packed, scales, points, bias, 1.0, 0, torch.float32, *none)
    element = {"fp32": torch.float32, "bf16": torch.bfloat16}[kind]
    x, weight = torch.rand(rows, inner).to(element), torch.rand(out, inner).to(element)
    packed, bias = torch.ops.mkldnn._reorder_linear_weight(weight, rows), bias.to(element)
    return lambda: torch.ops.mkldnn._linear_pointwise(x, packed, bias, *none)


def openblas(kind, rows, inner, out, threads):
    import numpy  # OPENBLAS_NUM_THREADS is set by who starts us
    assert kind == "fp32" and threads
    x, weight = numpy.random.rand(rows, inner).astype("f"), numpy.random.rand(out, inner).astype("f")
    y = numpy.empty((rows, out), "f")
    return lambda: numpy.matmul(x, weight.T, out=y)


def version(library):
    """As the libraries tell it."""
    if library == "onednn":
        import torch
        return "oneDNN " + re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())[1]
    import numpy
    return "OpenBLAS " + numpy.show_config("dicts")["Build Dependencies"]["blas"]["version"]


def main():
    if len(sys.argv) != 7:
        sys.exit("usage: peer_product.py onednn|openblas fp32|bf16|int8 ROWS IN OUT THREADS")
    library, kind, *sizes = sys.argv[1:]

    def make():
        run = {"onednn": onednn, "openblas": openblas}[library](kind, *map(int, sizes))
        run()
        return lambda runs: {"seconds": [timed(run) for _ in range(runs)], "version": version(library)}

    serve(make)


def timed(run):
    since = time.perf_counter()
    run()
    return time.perf_counter() - since


if __name__ == "__main__":
    main()
