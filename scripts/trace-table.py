#!/usr/bin/env python3
"""trace-table.py: how the CUDA kernels access memory, as the host shim counts it (tests/cudasim/trace.cc), into docs/cuda.md.

    scripts/trace-table.py REPORT LIBRARY

`make cuda-trace` runs it. LIBRARY is the one that made the report. Writes what stands between the markers of docs/cuda.md.
"""
import pathlib
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/cuda.md"
LINES_NAMED = 2  # of a kernel: those that cost most above the least


@dataclass
class Traffic:
    accesses: int = 0
    cost: int = 0
    least: int = 0

    def add(self, accesses, cost, least):
        self.accesses += accesses
        self.cost += cost
        self.least += least

    def ratio(self):
        return f"{self.cost / self.least:.2f}" if self.least else "–"


@dataclass
class Kernel:
    shared: Traffic = field(default_factory=Traffic)
    device: Traffic = field(default_factory=Traffic)
    lines: dict = field(default_factory=lambda: defaultdict(Traffic))


def find_sources(library, addresses):
    """For each address the kernel with its file, and the line: the first and last frame of what addr2line tells."""
    text = subprocess.run(["addr2line", "-a", "-f", "-C", "-i", "-s", "-e", library, *addresses], capture_output=True,
                          text=True, check=True).stdout
    for block in re.split(r"^0x[0-9a-f]+\n", text, flags=re.M)[1:]:
        frames = block.splitlines()
        kernel = re.sub(r"^void |\(.*", "", frames[-2])
        yield (frames[-1].split(":")[0], kernel), frames[1].split(" ")[0]


def read_report(report, library):
    rows = [line.split() for line in pathlib.Path(report).read_text().splitlines()]
    kernels = defaultdict(Kernel)
    for row, (name, line) in zip(rows, find_sources(library, [row[0] for row in rows]), strict=True):
        kernel, figures = kernels[name], [int(figure) for figure in row[4:]]
        (kernel.shared if row[1] == "shared" else kernel.device).add(*figures)
        kernel.lines[row[1], line].add(*figures)
    return kernels


def worst_lines(kernel):
    """Lines that cost more than they must, in wavefronts or sectors, the most of them first."""
    above = sorted(((t.cost - t.least, line, space, t) for (space, line), t in kernel.lines.items() if t.cost > t.least),
                   key=lambda worse: (-worse[0], worse[1]))
    return "; ".join(f"{line} {space} {t.ratio()}" for _, line, space, t in above[:LINES_NAMED])


def table(kernels):
    lines = ["| file | kernel | shared: accesses of warps, extra wavefronts, ratio | device: sectors, ratio to the least "
             "| worst lines, with their ratios |", "|---|---|---|---|---|"]
    for (file, name), kernel in sorted(kernels.items()):
        shared, device = kernel.shared, kernel.device
        conflicts = f"{shared.accesses}, {shared.cost - shared.least}, {shared.ratio()}" if shared.accesses else "none"
        lines.append(f"| {file} | `{name}` | {conflicts} | {device.cost}, {device.ratio()} | {worst_lines(kernel)} |")
    return lines


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: trace-table.py REPORT LIBRARY")
    kernels = read_report(sys.argv[1], sys.argv[2])
    if not kernels:
        sys.exit(f"{sys.argv[1]}: no accesses: were the kernels compiled for tracing?")
    lines, text = table(kernels), DOCUMENT.read_text()
    begin, end = "<!-- accesses -->", "<!-- end of accesses -->"
    first, last = text.index(begin) + len(begin), text.index(end)
    DOCUMENT.write_text(text[:first] + "\n" + "\n".join(lines) + "\n" + text[last:])
    print("\n".join(lines))


if __name__ == "__main__":
    main()
