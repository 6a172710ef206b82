#!/usr/bin/env python3
"""ptxas-table.py: what the compiler makes of the CUDA kernels, and what a step of training costs at least, into docs/cuda.md.

    scripts/ptxas-table.py [--nvcc NVCC] [--include FOLDER] [--check]

Writes what stands between the markers of docs/cuda.md; --check only looks whether a kernel spills. A spill on sm_90 fails it.
The roofline counts what the kernels of kernels/cuda must move and multiply, from the list of ops in src/nn/encoder.c, head.c and
src/train/optimizer.c: see `layer_forward` and those that follow. Its assumptions are the constants below.
"""
import argparse
import math
import pathlib
import re
import subprocess
import sys
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/cuda.md"
ARCHITECTURES = ["sm_80", "sm_90", "sm_100"]
MUST_NOT_SPILL = "sm_90"

BANDWIDTH = 3.35e12                # H100 SXM, bytes a second
PEAKS = {"fp32": (4, 67e12), "bf16": (2, 989e12)}  # bytes an element, operations a second: CUDA cores, tensor cores
LAUNCH = 2.5e-6                    # seconds that the host needs to queue one kernel or copy
CLASSES = 6


# ---- Registers, shared memory, spills ----

def demangle(name):
    text = subprocess.run(["c++filt", name], capture_output=True, text=True, check=True).stdout.strip()
    return re.sub(r"^void ", "", text).split("(")[0]


def compile_report(nvcc, include, source, architecture):
    """{kernel: (registers, static shared bytes, bytes spilled)}"""
    command = [nvcc, "-std=c++17", "-O3", "-D_GNU_SOURCE", "-Iinclude", "-Isrc", "-I.", f"-I{include}", "-cubin",
               f"-arch={architecture}", "-Xptxas", "-v", "-o", "/dev/null", str(source)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if result.returncode != 0:
        sys.exit(f"ptxas-table.py: {source}: nvcc fails:\n{result.stderr}")
    kernels, name, spilled = {}, None, 0
    for line in result.stderr.splitlines():
        if entry := re.search(r"Compiling entry function '(\w+)'", line):
            name = entry[1]
        elif spills := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(spills[1]) + int(spills[2])
        elif used := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            kernels[demangle(name)] = (int(used[1]), int(shared[1]) if shared else 0, spilled)
    return kernels


def kernel_table(nvcc, include):
    """Rows of the table, and the kernels that spill where none may."""
    rows, spilling = [], []
    for source in sorted((ROOT / "kernels/cuda").glob("*.cu")):
        reports = [compile_report(nvcc, include, source.relative_to(ROOT), a) for a in ARCHITECTURES]
        for kernel in sorted(reports[0]):
            figures = [report[kernel] for report in reports]
            if figures[ARCHITECTURES.index(MUST_NOT_SPILL)][2] > 0:
                spilling.append(kernel)
            cells = [" / ".join(str(f[i]) for f in figures) for i in range(3)]
            rows.append(f"| {source.name} | `{kernel}` | {cells[0]} | {cells[1]} | {cells[2]} |")
    head = [f"| file | kernel | registers, {' / '.join(ARCHITECTURES)} | static shared bytes | spilled bytes |",
            "|---|---|---|---|---|"]
    return head + rows, spilling


# ---- The roofline ----

@dataclass
class Shape:
    name: str
    layers: int
    channels: int
    feed_forward: int
    positions: int
    batch: int
    length: int

    @property
    def tokens(self):
        return self.batch * self.length

    @property
    def words(self):
        """Distinct words of a batch, by Heaps' law: half of 1024 tokens, a sixth of 16 k."""
        return round(8 * self.tokens ** 0.6)

    @property
    def dense(self):
        """Dense parameters: all but the word table, with a linear head."""
        c, f = self.channels, self.feed_forward
        layer = 4 * c * c + 4 * c + 2 * c * f + f + c + 4 * c
        return (self.positions + 2 + 2) * c + self.layers * layer + CLASSES * (c + 1)

    @property
    def tensors(self):
        return 4 + 16 * self.layers + 2


SHAPES = [Shape("rubert-tiny2", 3, 312, 600, 2048, 32, 32), Shape("LaBSE", 12, 768, 3072, 512, 32, 32),
          Shape("LaBSE, 16 k tokens", 12, 768, 3072, 512, 512, 32)]


@dataclass
class Work:
    """What one op does at least. Each operand is read or written once by each kernel; what a kernel reads again comes from
    caches."""
    flops: float = 0
    reals: float = 0    # elements moved, in the precision of the step
    masters: float = 0  # elements moved that are fp32 in any precision: weights, moments and gradients in the optimizer
    launches: int = 0   # of kernels
    copies: int = 0     # of index arrays to the device, and fills

    def seconds(self, size, peak):
        return max(self.flops / peak, (self.reals * size + self.masters * 4) / BANDWIDTH)


def column_sums(rows, columns, inputs=1):
    chunks = math.ceil(rows / 64)
    return Work(0, inputs * rows * columns + 2 * chunks * columns + 2 * columns, 0, 2)


def product(m, n, k, add=False):
    return Work(2 * m * n * k, m * k + k * n + (2 if add else 1) * m * n, 0, 1)


def linear_forward(rows, inputs, outputs, gelu=False):
    """The bias comes with the product, or with GELU."""
    return [product(rows, outputs, inputs)] + [Work(0, 2 * rows * outputs + outputs, 0, 1)] * gelu


def linear_backward(rows, inputs, outputs, gelu=False, dx_add=False):
    """Sums for the bias come with the product that gives dweight, or with GELU's slope; they are then added."""
    slope = [Work(0, 3 * rows * outputs, 0, 1)] * gelu
    return slope + [product(outputs, inputs, rows, True), Work(0, 3 * outputs, 0, 1), product(rows, inputs, outputs, dx_add)]


def attention_forward(s, queries, dropout):
    c = s.channels
    return [Work(4 * queries * s.length * c, 2 * queries * c + 2 * s.tokens * c, 0, 1)]


def attention_backward(s, queries, dropout):
    """dq from three products of a tile, with the sums of dy y; then dk and dv from four."""
    c, pair = s.channels, 2 * queries * s.length * s.channels
    return [Work(3 * pair + 2 * queries * c, 4 * queries * c + 2 * s.tokens * c, 0, 1),
            Work(4 * pair, 2 * queries * c + 4 * s.tokens * c, 0, 1)]


def norm_forward(rows, channels, training):
    return [Work(0, (4 if training else 3) * rows * channels, 0, 1)]


def norm_backward(rows, channels):
    return [column_sums(rows, channels, 2), Work(0, 4 * rows * channels, 0, 1)]


def layer_forward(s, last, training):
    """A last layer asks with its sequences' first rows only."""
    c, f, n = s.channels, s.feed_forward, s.tokens
    rows = s.batch if last else n
    qkv = linear_forward(n, c, 3 * c)
    if last:
        qkv = [Work(0, 2 * rows * c, 0, 1)] + linear_forward(rows, c, c) + linear_forward(n, c, 2 * c)
    return (qkv + attention_forward(s, rows, training) + linear_forward(rows, c, c) + norm_forward(rows, c, training) +
            linear_forward(rows, c, f, True) + linear_forward(rows, f, c) + norm_forward(rows, c, training))


def layer_backward(s, last):
    c, f, n = s.channels, s.feed_forward, s.tokens
    rows = s.batch if last else n
    qkv = linear_backward(n, c, 3 * c, dx_add=True)
    if last:
        qkv = (linear_backward(n, c, 2 * c) + linear_backward(rows, c, c, dx_add=True) +
               [Work(0, 3 * rows * c, 0, 1)])
    return (norm_backward(rows, c) + linear_backward(rows, f, c) + linear_backward(rows, c, f, True, True) +
            norm_backward(rows, c) + linear_backward(rows, c, c) + attention_backward(s, rows, 1) + qkv)


def read_words(s):
    """One gather, by slots in training, by words where the whole table lies on the card."""
    return [Work(0, 0, 2 * s.words * s.channels, 1, 1)]


def embed_forward(s, training):
    rows = s.tokens * s.channels
    return [Work(0, (3 + training) * rows, 0, 1)]


def embed_backward(s):
    c, rows = s.channels, s.tokens * s.channels
    return [column_sums(s.tokens, c, 2), Work(0, 3 * rows, 0, 1), Work(0, rows + s.words * c, 0, 1),
            Work(0, rows + 2 * s.length * c, 0, 1), column_sums(s.tokens, c)]


def head_forward(s, training):
    return [Work(0, 2 * s.batch * s.channels, 0, 1)] + linear_forward(s.batch, s.channels, CLASSES)


def head_backward(s):
    return ([Work(0, 2 * s.batch * CLASSES, 0, 2)] + linear_backward(s.batch, s.channels, CLASSES) +
            [Work(0, 2 * s.batch * s.channels, 0, 1)])


def optimizer(s):
    """Zeros into the gradients; the norm in three kernels; one AdamW for all dense tensors; the replay and the step of the rows, with what
    the host sends for them."""
    rows = s.words * s.channels
    return [Work(0, 0, s.dense, 0, 1), Work(2 * s.dense, 0, s.dense, 1), Work(2 * rows, 0, rows, 2),
            Work(10 * s.dense, s.dense, 7 * s.dense, 1), Work(10 * rows, 0, 6 * rows, 1, 5), Work(10 * rows, 0, 7 * rows, 1)]


def forward(s, training):
    work = read_words(s) + embed_forward(s, training)
    for layer in range(s.layers):
        work += layer_forward(s, layer + 1 == s.layers, training)
    return work + head_forward(s, training)


def training_step(s):
    work = forward(s, True) + head_backward(s)
    for layer in range(s.layers):
        work += layer_backward(s, layer + 1 == s.layers)
    return work + embed_backward(s) + optimizer(s)


def roofline_row(s, what, training):
    work = training_step(s) if training else forward(s, False)
    cells = [f"{sum(w.flops for w in work) / 1e9:.1f}"]
    for size, peak in PEAKS.values():
        seconds = sum(w.seconds(size, peak) for w in work)
        moved = sum(w.reals * size + w.masters * 4 for w in work)
        cells.append(f"{moved / 1e6:.0f} MB, {seconds * 1e3:.3f} ms, {s.tokens / seconds / 1e6:.2f} M tokens/s")
    launches, copies = sum(w.launches for w in work), sum(w.copies for w in work)
    stretches = 1 + training  # forward and backward; the update
    cells.append(f"{launches} + {copies + stretches}")
    apart = sum(w.launches + w.copies for w in read_words(s)) + training * 7  # not in a stretch
    cells.append(f"{(launches + copies + stretches) * LAUNCH * 1e3:.2f} ms, {(2 * stretches + apart) * LAUNCH * 1e3:.2f} ms")
    return f"| {s.name} | {what} | " + " | ".join(cells) + " |"


def roofline():
    lines = ["| model | step | GFLOP | fp32: bytes, time, rate | bf16: bytes, time, rate | kernels + copies | to queue them, as graphs |",
             "|---|---|---|---|---|---|---|"]
    for s in SHAPES:
        lines.append(roofline_row(s, "training", True))
        lines.append(roofline_row(s, "inference", False))
    return lines


# ---- The document ----

def put(text, name, lines):
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    first, last = text.index(begin) + len(begin), text.index(end)
    return text[:first] + "\n" + "\n".join(lines) + "\n" + text[last:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--include", default="build/cuda/include", help="where cublasLt.h is: `make cuda` puts it there")
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    table, spilling = kernel_table(arguments.nvcc, arguments.include)
    if not arguments.check:
        text = put(DOCUMENT.read_text(), "kernels", table)
        DOCUMENT.write_text(put(text, "roofline", roofline()))
    print(f"{len(table) - 2} kernels, {len(spilling)} spill on {MUST_NOT_SPILL}" + ": " * bool(spilling) +
          ", ".join(spilling))
    return 1 if spilling else 0


if __name__ == "__main__":
    sys.exit(main())
