#!/usr/bin/env python3
"""Writes src/text/unicode_table.c: what the Rust crates behind Hugging Face tokenizers know about each character.

Those crates follow several Unicode versions at once, so no one version's data gives their ids. The table is what the
pinned package itself answers when asked about every scalar value.

    python scripts/unicode-table.py            # writes the table
    python scripts/unicode-table.py --check    # only compares it with the one that is there
"""
import argparse
import json
import pathlib
import sys
import unicodedata

import tokenizers
from tokenizers import Tokenizer, normalizers, pre_tokenizers

PINNED = "0.23.3"
TARGET = pathlib.Path(__file__).resolve().parent.parent / "src" / "text" / "unicode_table.c"
SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
SPACE, DROP, PUNCTUATION, MARK, WORD, LOWER, DECOMPOSE, CHINESE = (1 << bit for bit in range(8))
BLOCK = 128
HIGHEST_CLASS, LOWEST_CLASS = "\u0345", "\u0334"  # combining classes 240 and 1


def bert(**wanted):
    switches = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**switches, **wanted}).normalize_str


def word_tester():
    """\\w of the regex crate, seen through a token that must stand alone."""
    token = dict(id=0, content="<t>", single_word=True, lstrip=False, rstrip=False, normalized=False, special=True)
    model = dict(type="WordPiece", unk_token="u", continuing_subword_prefix="##", max_input_chars_per_word=9,
                 vocab={"<t>": 0, "u": 1})
    tokenizer = Tokenizer.from_str(json.dumps(dict(
        version="1.0", truncation=None, padding=None, added_tokens=[token], normalizer=None, pre_tokenizer=None,
        post_processor=None, decoder=None, model=model)))
    return lambda c: 0 not in tokenizer.encode(c + "<t>").ids


def probe():
    """The flags of every scalar, and the lower-case pairs."""
    clean, chinese = bert(clean_text=True), bert(handle_chinese_chars=True)
    strip, lower, nfd = bert(strip_accents=True), bert(lowercase=True), normalizers.NFD().normalize_str
    split, is_word = pre_tokenizers.BertPreTokenizer().pre_tokenize_str, word_tester()
    flags, pairs = bytearray(0x110000), []
    for scalar in SCALARS:
        c = chr(scalar)
        bits, pieces, cleaned = 0, len(split("a" + c + "b")), clean("a" + c + "b")[1:-1]
        bits |= SPACE if pieces == 2 else PUNCTUATION if pieces == 3 else 0
        bits |= DROP if cleaned == "" else 0
        assert cleaned in ("", " " if bits & SPACE else c), f"U+{scalar:04X} is cleaned to {cleaned!r}"
        bits |= CHINESE if chinese(c) == f" {c} " else 0
        bits |= WORD if is_word(c) else 0
        decomposed = nfd(c)
        if decomposed != c or nfd("a" + HIGHEST_CLASS + c) != "a" + HIGHEST_CLASS + c or \
                nfd("a" + c + LOWEST_CLASS) != "a" + c + LOWEST_CLASS:
            bits |= DECOMPOSE
            # A decomposition that is known at all must be the one of the Unicode standard: C takes it from utf8proc.
            assert decomposed == unicodedata.normalize("NFD", c), f"U+{scalar:04X} decomposes to {decomposed!r}"
        if decomposed == c and strip(c) == "":
            bits |= MARK
        lowered = lower(c)
        if lowered != c:
            bits |= LOWER
            if scalar == 0x130:
                assert lowered == "i\u0307"
            else:
                assert len(lowered) == 1, f"U+{scalar:04X} is lowered to {lowered!r}"
                pairs.append((scalar, ord(lowered)))
        flags[scalar] = bits
    return flags, pairs


def lower_ranges(pairs):
    """Runs of characters, one or two apart, that are lowered by the same distance: [first, last, step, distance]."""
    runs = []
    for scalar, lowered in pairs:
        distance = lowered - scalar
        if runs and runs[-1][3] == distance:
            first, last, step, _ = runs[-1]
            if scalar - last == step or (first == last and scalar - last <= 2):
                runs[-1] = [first, scalar, scalar - last, distance]
                continue
        runs.append([scalar, scalar, 1, distance])
    return runs


def rows(cells):
    line, lines = "   ", []
    for cell in cells:
        if len(line) + len(cell) + 2 > 118:
            lines.append(line)
            line = "   "
        line += " " + cell + ","
    return "\n".join(lines + [line])


def render(flags, pairs):
    blocks, index = {}, []
    for start in range(0, 0x110000, BLOCK):
        index.append(blocks.setdefault(bytes(flags[start:start + BLOCK]), len(blocks)))
    assert len(blocks) <= 256, f"{len(blocks)} blocks do not fit a byte"
    runs = lower_ranges(pairs)
    return f"""/* unicode_table.c: what tokenizers {PINNED} knows about each character; see unicode.h.
 * Written by scripts/unicode-table.py, which asks that package about every scalar value. Not to be edited. */
#include "text/unicode.h"

/* clang-format off */
const uint8_t bft_unicode_index[0x110000 / BFT_UNICODE_BLOCK] = {{
{rows(map(str, index))}
}};

const uint8_t bft_unicode_blocks[][BFT_UNICODE_BLOCK] = {{
{",{0}".format(chr(10)).join("    {" + chr(10) + rows(map(str, block)) + chr(10) + "    }" for block in blocks)},
}};

const bft_unicode_run bft_unicode_lower_runs[] = {{
{rows("{0x%X, 0x%X, %d, %d}" % tuple(run) for run in runs)}
}};
const size_t bft_unicode_lower_run_count = {len(runs)};
/* clang-format on */
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the table that is there")
    arguments = parser.parse_args()
    if tokenizers.__version__ != PINNED:
        sys.exit(f"unicode-table.py: tokenizers {PINNED} is wanted, {tokenizers.__version__} is installed")
    text = render(*probe())
    if arguments.check:
        if TARGET.read_text() != text:
            sys.exit(f"{TARGET.name} is not what tokenizers {PINNED} answers; run scripts/unicode-table.py")
    else:
        TARGET.write_text(text)
    print(f"{TARGET.name}: {len(text)} bytes of source, {text.count(chr(10))} lines")


if __name__ == "__main__":
    main()
