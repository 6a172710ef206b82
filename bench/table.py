"""table.py: the rows of the table, and how they are printed: as text, as Markdown between two markers of a page, as JSON."""
import dataclasses
import json
import pathlib
import re
import statistics
from dataclasses import dataclass, field

from load import QUIET

BEGIN, END = "<!-- bench -->", "<!-- end of bench -->"


@dataclass
class Row:
    """Figures of alternations, ours and the peer's: the i-th of both stood side by side."""
    what: str
    shape: str
    unit: str
    peer: str = ""
    ours: list = field(default_factory=list)
    theirs: list = field(default_factory=list)
    bar: float = None       # of the ratio
    least: bool = False     # less is better
    alone: bool = False     # the bar is of our figure, whatever the peer's is
    share: float = None     # of the processor's peak
    others: float = None    # processors that other work took meanwhile; None: that doesn't matter
    note: str = ""

    @property
    def ratios(self):
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs)]

    @property
    def reached(self):
        """The figure that is held against the bar."""
        figures = self.ours if self.alone else self.ratios
        return statistics.median(figures) if figures else None

    @property
    def met(self):
        if self.bar is None or self.reached is None or not self.quiet:
            return None
        return self.reached <= self.bar if self.least else self.reached >= self.bar

    @property
    def quiet(self):
        return self.others is None or self.others <= QUIET

    def cells(self):
        ratios, met = self.ratios, {True: "met", False: "not met", None: ""}[self.met]
        if self.bar is not None and self.ours and not self.quiet:
            met = "machine busy: not judged"
        spread = f" ({figure(min(ratios))} to {figure(max(ratios))}, {len(ratios)})" if ratios else ""
        bar = "" if self.bar is None else f"{'at most' if self.least else 'at least'} {self.bar:g}"
        bar += f" {self.unit}" if bar and self.alone else ""
        return [self.what, self.shape, middle(self.ours), middle(self.theirs), self.unit, self.peer,
                figure(statistics.median(ratios)) + spread if ratios else "", bar, met,
                "" if self.share is None else f"{100 * self.share:.0f} %", "" if self.others is None else f"{self.others:.2f}", self.note]

    def as_json(self):
        return {**dataclasses.asdict(self), "ratios": self.ratios, "reached": self.reached, "met": self.met}


HEAD = ["what", "shape", "ours", "peer's", "unit", "peer", "ratio: median (least to most, alternations)", "bar", "",
        "of the peak", "others' load", "note"]


def figure(value):
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def middle(values):
    return figure(statistics.median(values)) if values else ""


def as_text(rows):
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells)


def as_markdown(rows):
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def as_json(rows, machine, products):
    return json.dumps({"machine": machine, "rows": [row.as_json() for row in rows], "products": products.splitlines()},
                      indent=1, ensure_ascii=False)


def write_page(page, rows, machine, products):
    """Replaces what stands between the markers."""
    text = page.read_text(encoding="utf-8")
    first, last = text.index(BEGIN) + len(BEGIN), text.index(END)
    parts = ["\n".join(f"- {name}: {value}" for name, value in machine.items()), as_markdown(rows)]
    if products:
        parts.append(f"Matrix products, `bench/gemm`, beside the peak of the registers:\n\n```\n{products.rstrip()}\n```")
    page.write_text(text[:first] + "\n\n" + "\n\n".join(parts) + "\n\n" + text[last:], encoding="utf-8")


# ---- The machine ----

def describe_machine(threads):
    text = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*: (.*)$", text, re.M)
    flags = set(re.search(r"^flags\s*: (.*)$", text, re.M)[1].split()) if "\nflags" in text else set()
    kinds = [kind for kind in ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_tile") if kind in flags]
    memory = re.search(r"^MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)
    return {"processor": name[1] if name else "unknown", "instruction sets": " ".join(kinds) or "unknown",
            "threads": threads, "memory": f"{int(memory[1]) / 2**20:.0f} GiB"}
