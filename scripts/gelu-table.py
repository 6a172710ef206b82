#!/usr/bin/env python3
"""gelu-table.py: the polynomials of kernels/cpu/gelu.h, written between its markers.

    scripts/gelu-table.py kernels/cpu/gelu.h

Q(u) is the upper tail of the normal distribution, and G(u) = Q(u) - u Q'(u) what GELU's slope is made of. Each of 16 pieces of
0 <= u <= 6 has a polynomial of degree 5 in its own middle, through the Chebyshev points. Prints the largest errors of both, in the
arithmetic of floats. Needs NumPy.
"""
import math
import pathlib
import sys

import numpy

PIECES, TOP, DEGREE = 16, 6.0, 5
BEGIN, END = "/* polynomials */", "/* end of polynomials */"


def tail(u):
    return 0.5 * math.erfc(u / math.sqrt(2))


def falling(u):
    return tail(u) - u * math.exp(-u * u / 2) / math.sqrt(2 * math.pi)


def fit(function):
    """Coefficients (DEGREE + 1, PIECES) as floats, and the largest error."""
    points = 0.5 * numpy.cos((2 * numpy.arange(DEGREE + 1) + 1) * math.pi / (2 * (DEGREE + 1)))
    found, worst = [], 0.0
    for piece in range(PIECES):
        def at(d):
            return function((piece + 0.5 + float(d)) * TOP / PIECES)

        exact = numpy.linalg.solve(numpy.vander(points, DEGREE + 1, increasing=True), [at(d) for d in points])
        found.append(exact.astype(numpy.float32))
        looked_at = numpy.linspace(-0.5, 0.5, 1001).astype(numpy.float32)
        value = numpy.full_like(looked_at, found[-1][DEGREE])
        for power in range(DEGREE - 1, -1, -1):
            value = (value * looked_at + found[-1][power]).astype(numpy.float32)
        worst = max(worst, max(abs(float(v) - at(d)) for v, d in zip(value, looked_at)))
    return numpy.array(found).T, worst


def write(name, rows):
    lines = [f"static const float {name}[{DEGREE + 1}][{PIECES}] __attribute__((aligned(64))) = {{"]
    for row in rows:
        values = [float(value).hex().replace("0000000p", "p") + "f" for value in row]
        lines += ["    {" + ", ".join(values[:4]) + ","] + ["     " + ", ".join(values[i:i + 4]) + ("}," if i == 12 else ",")
                                                       for i in (4, 8, 12)]
    return "\n".join(lines + ["};"])


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: gelu-table.py kernels/cpu/gelu.h")
    page, parts = pathlib.Path(sys.argv[1]), []
    for name, function in (("gelu_tail", tail), ("gelu_falling", falling)):
        rows, worst = fit(function)
        parts.append(write(name, rows))
        print(f"{name}: off by {worst:.2g} at most")
    text = page.read_text()
    first, last = text.index(BEGIN) + len(BEGIN), text.index(END)
    page.write_text(text[:first] + "\n" + "\n".join(parts) + "\n" + text[last:])


if __name__ == "__main__":
    main()
