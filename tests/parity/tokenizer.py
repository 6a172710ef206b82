#!/usr/bin/env python3
"""Compares the ids of bertft with those of Hugging Face tokenizers, text by text; any difference is a failure.

    python tests/parity/tokenizer.py [--shared ../shared] [--program build/tests/tokenize_stream] [--quick]

--shared holds data/vocab, real vocabularies; without it the vocabulary of checkpoints/mini-ru serves for all. --quick
tries every scalar value on the first vocabulary only.
"""
import argparse
import array
import itertools
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

SCALARS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CONTEXTS = ("{}", "a{}b", "я {} é{}")
OWN = pathlib.Path(__file__).resolve().parents[2] / "checkpoints" / "mini-ru"
SHARED = ("bert-base-uncased", "bert-base-multilingual-cased", "bert-base-chinese", "rubert-tiny2")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SWITCHES = [dict(lowercase=low, strip_accents=strip, handle_chinese_chars=chinese)
            for low, strip, chinese in itertools.product((False, True), repeat=3)]
PACKED = 64      # scalars in one text where all switches are tried
CHUNK = 100_000  # texts at a time


class Comparison:
    def __init__(self, program):
        self.program, self.texts, self.differences = program, 0, 0

    def check(self, name, folder, reference, texts, limit=0):
        """`texts` are strings, bytes (which may be broken UTF-8), or pairs of either."""
        reference.no_padding()
        if limit:
            reference.enable_truncation(limit)
        else:
            reference.no_truncation()
        texts, count, wrong = iter(texts), 0, 0
        while chunk := list(itertools.islice(texts, CHUNK)):
            count += len(chunk)
            wrong += self.check_chunk(name, folder, reference, chunk, limit)
        print(f"{name}: {count} strings, {wrong} differences", flush=True)
        self.texts += count
        self.differences += wrong

    def check_chunk(self, name, folder, reference, chunk, limit):
        requests, inputs = [], []
        for item in chunk:
            pair = item if isinstance(item, tuple) else (item,)
            raw = [part.encode() if isinstance(part, str) else part for part in pair]
            decoded = tuple(part.decode(errors="replace") for part in raw)
            second = struct.pack("<I", 0xFFFFFFFF) if len(raw) == 1 else struct.pack("<I", len(raw[1])) + raw[1]
            requests.append(struct.pack("<II", limit, len(raw[0])) + raw[0] + second)
            inputs.append(decoded if len(decoded) == 2 else decoded[0])
        result = subprocess.run([self.program, str(folder)], input=b"".join(requests), stdout=subprocess.PIPE)
        if result.returncode != 0:
            sys.exit(f"{name}: tokenize_stream failed")
        ours, at, wrong = result.stdout, 0, 0
        for item, expected in zip(chunk, reference.encode_batch_fast(inputs)):
            answer = struct.pack("<I", len(expected.ids)) + array.array("I", expected.ids).tobytes() + \
                bytes(expected.type_ids)
            count, = struct.unpack_from("<I", ours, at)
            if ours[at:at + 4 + 5 * count] != answer:
                wrong += 1
                if wrong <= 3:
                    got = list(struct.unpack_from(f"<{count}I", ours, at + 4))
                    print(f"  {item!r}\n    wanted {expected.ids}\n    got    {got}")
            at += 4 + 5 * count
        return wrong


def tokenizer_json(folder, tokens, extra=(), model=None, **normalizer):
    """Writes a folder that holds only a tokenizer.json; gives it and the reference made from the same file."""
    ids = {token: index for index, token in enumerate(tokens)}
    cls, sep = ({"SpecialToken": dict(id=name, type_id=0)} for name in ("[CLS]", "[SEP]"))
    a, b = ({"Sequence": dict(id=name, type_id=index)} for index, name in enumerate("AB"))
    document = dict(
        version="1.0", truncation=None, padding=None,
        added_tokens=[added(name, special=True) for name in SPECIAL] + list(extra),
        normalizer=dict(dict(type="BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None,
                             lowercase=True), **normalizer),
        pre_tokenizer=dict(type="BertPreTokenizer"),
        post_processor=dict(
            type="TemplateProcessing", single=[cls, a, sep],
            pair=[cls, a, sep, b, {"SpecialToken": dict(id="[SEP]", type_id=1)}],
            special_tokens={name: dict(id=name, ids=[ids[name]], tokens=[name]) for name in ("[CLS]", "[SEP]")}),
        decoder=dict(type="WordPiece", prefix="##", cleanup=True),
        model=dict(dict(type="WordPiece", unk_token="[UNK]", continuing_subword_prefix="##",
                        max_input_chars_per_word=100, vocab=ids), **(model or {})))
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(document))
    return folder, Tokenizer.from_file(str(folder / "tokenizer.json"))


def added(content, **flags):
    return dict(dict(id=0, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False,
                     special=False), **flags)


def packed(scalars):
    """All contexts again, many to a text: spaces keep them apart."""
    for start in range(0, len(scalars), PACKED):
        part = scalars[start:start + PACKED]
        for context in CONTEXTS:
            yield " ".join(context.replace("{}", c) for c in part)


def random_texts(rng, count, extra=()):
    """Strings mixed from scripts, marks, controls, emoji, special tokens and long words."""
    ranges = [(0x20, 0x7F), (0, 0x20), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x400), (0x400, 0x530), (0x590, 0x700),
              (0x900, 0xE00), (0xE00, 0x1000), (0x1100, 0x1200), (0x1AB0, 0x1B80), (0x1DC0, 0x2070), (0x20D0, 0x2100),
              (0x2E00, 0x3100), (0x3400, 0x3500), (0x4E00, 0x5200), (0xAC00, 0xB000), (0xF900, 0xFB00),
              (0xFE00, 0x10000), (0x1D150, 0x1D200), (0x1F300, 0x1FA00), (0x20000, 0x20100), (0x2F800, 0x2FA20),
              (0xE0000, 0xE0200), (0, 0x110000)]
    words = ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "[cls]", "[ MASK ]", "##ing", "don't", "Привет", "ёлка",
             "ЁЖИК", "Straße", "İstanbul", "naïve", "Ǆ", "ΣΑΣ", "한국어", "各位", "tokenizers", "безумно", "e\u0301\u0323",
             "q\u0323\u0307", "\u1100\u1161\u11a8", "👩\u200d👩\u200d👧", "🇷🇺", "x" * 100, "x" * 101, "ж" * 100,
             "ж" * 101, "\u0300" * 5, " ", "  ", "\t", "\r\n", "\0", "\ufffd", "\u200b", "\u00ad", "\u0345\u0334",
             "\u302e\u302f", "\U0001d165\U0001d16e"] + list(extra)

    def piece():
        kind = rng.random()
        if kind < 0.35:
            return rng.choice(words)
        low, high = rng.choice(ranges)
        length = rng.choice((1, 1, 2, 3, 5, 8, 13)) if kind < 0.97 else rng.randint(90, 120)
        run = (rng.randrange(low, high) for _ in range(length))
        return "".join(chr(c) for c in run if not 0xD800 <= c < 0xE000)

    for _ in range(count):
        yield "".join(piece() + rng.choice(("", "", " ")) for _ in range(rng.randint(1, 8)))


def broken_texts(rng, count):
    """Bytes that are nearly UTF-8."""
    for text in random_texts(rng, count):
        raw = bytearray(text.encode())
        for _ in range(rng.randint(1, 4)):
            if raw:
                at = rng.randrange(len(raw))
                if rng.random() < 0.5:
                    del raw[at]
                else:
                    raw[at] = rng.randrange(256)
        yield bytes(raw)


def check_vocabulary(comparison, name, tokens, work, rng, every_scalar):
    native = tokenizer_json(work / name, tokens, lowercase="uncased" in name)
    if every_scalar:
        for context in CONTEXTS:
            comparison.check(f"{name}, every scalar in '{context}'", *native,
                             (context.replace("{}", c) for c in SCALARS))
    for index, switches in enumerate(SWITCHES):
        label = name + "".join(f", {key} {value}" for key, value in switches.items())
        pair = tokenizer_json(work / f"{name}-{index}", tokens, **switches)
        if every_scalar:
            comparison.check(f"{label}, every scalar, {PACKED} to a string", *pair, packed(SCALARS))
        comparison.check(f"{label}, random", *pair, random_texts(rng, 50_000 // len(SWITCHES)))
    unclean = tokenizer_json(work / f"{name}-unclean", tokens, clean_text=False)
    comparison.check(f"{name}, clean_text False, random", *unclean, random_texts(rng, 10_000))
    comparison.check(f"{name}, broken UTF-8", *native, broken_texts(rng, 10_000))
    for limit in (3, 4, 5, 6, 7, 8, 11, 16, 33, 128):
        texts = random_texts(rng, 2000)
        comparison.check(f"{name}, pairs cut to {limit}", *native, zip(texts, texts), limit)
        comparison.check(f"{name}, single texts cut to {limit}", *native, random_texts(rng, 1000), limit)


def check_added_tokens(comparison, tokens, work, rng):
    flags = [dict(zip(("single_word", "lstrip", "rstrip", "normalized"), bits))
             for bits in itertools.product((False, True), repeat=4)]
    extra = [added(f"<t{i}>", **flag) for i, flag in enumerate(flags)]
    extra += [added(f"Word{chr(65 + i)}", **flag) for i, flag in enumerate(flags)]
    extra += [added("Élan", normalized=True), added("WordA WordB"), added("the", single_word=True),
               added("新しい", normalized=True), added("新し"), added("<t", special=True), added("the", lstrip=True),
               added("ing"), added("\u00a0x", special=True), added("")]
    words = [token["content"] for token in extra] + [token["content"].lower() for token in extra] + ["\u2003", "_"]
    for lowercase, strip in itertools.product((False, True), repeat=2):
        pair = tokenizer_json(work / f"added-{lowercase}-{strip}", tokens, extra, lowercase=lowercase,
                              strip_accents=strip)
        comparison.check(f"added tokens, lowercase {lowercase}, strip_accents {strip}", *pair,
                         random_texts(rng, 25_000, words * 5))
    for prefix, longest in (("", 100), ("@", 7), ("##", 3)):
        pair = tokenizer_json(work / f"prefix-{prefix}-{longest}", tokens,
                              model=dict(continuing_subword_prefix=prefix, max_input_chars_per_word=longest))
        comparison.check(f"prefix '{prefix}', words of {longest} characters", *pair, random_texts(rng, 10_000))


def check_many_added_tokens(comparison, source, work, rng):
    folder = work / "many"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes(source.read_bytes())
    words = [token["content"] for token in json.loads(source.read_text())["added_tokens"]]
    comparison.check(f"{source.name}, {len(words)} added tokens", folder,
                     Tokenizer.from_file(str(folder / "tokenizer.json")), random_texts(rng, 50_000, words))


def check_vocab_folders(comparison, tokens, work, rng):
    """Folders with a vocab.txt and settings, as transformers reads them."""
    lines = [token.encode() for token in tokens]
    source = b"\n".join(lines) + b"\n"
    plain = [line for line in lines if line.decode() not in SPECIAL]
    mask = dict(content="[MASK]", lstrip=True, rstrip=False, single_word=False, normalized=True)
    decoder = {"7000": added("late"), "103": added("[MASK]", special=True, lstrip=True),
               "8": added("Early", normalized=True)}
    for token in decoder.values():
        del token["id"]
    cases = {
        "plain": (source, {}, {}),
        "cased": (source, dict(do_lower_case=False), {}),
        "accents kept": (source, dict(strip_accents=False, model_max_length=int(1e30)), {}),
        "accents stripped, no Chinese": (source, dict(do_lower_case=False, strip_accents=True,
                                                      tokenize_chinese_chars=False), {}),
        "CRLF": (b"\r\n".join(lines), {}, {}),
        "spaces at line ends, empty lines": (b" \xc2\xa0\t\n".join(lines) + b"\n\n\n", {}, {}),
        "equal lines": (b"\n".join(lines + plain[100:110]), {}, {}),
        "no special tokens but [UNK]": (b"\n".join([b"[UNK]"] + plain), {}, {}),
        "mask with lstrip": (source, dict(mask_token=dict(mask, __type="AddedToken")), {}),
        "special_tokens_map": (source, {}, {"special_tokens_map.json": dict(mask_token=mask, cls_token="[PAD]",
                                                                           additional_special_tokens=["<x>", "the"])}),
        "added_tokens.json": (source, {}, {"added_tokens.json": {"<b>": 2, "<A>": 1, "[MASK]": 3}}),
        "added_tokens_decoder": (source, dict(added_tokens_decoder=decoder, extra_special_tokens=["<x>", "late"]),
                                 {"special_tokens_map.json": dict(mask_token="[PAD]")}),
        "other names": (b"\n".join([b"<u>", b"<s>", b"</s>"] + plain),
                        dict(unk_token="<u>", cls_token="<s>", sep_token="</s>", pad_token="<p>"), {}),
    }
    extra = ["<x>", "<A>", "<a>", "<b>", "late", "early", "Early", "<s>", " [MASK]"] * 3
    for number, (name, (vocabulary, config, others)) in enumerate(cases.items()):
        folder = work / f"vocab-{number}"
        folder.mkdir()
        (folder / "vocab.txt").write_bytes(vocabulary)
        (folder / "tokenizer_config.json").write_text(json.dumps(dict(config, tokenizer_class="BertTokenizer")))
        for file, content in others.items():
            (folder / file).write_text(json.dumps(content))
        reference = AutoTokenizer.from_pretrained(folder).backend_tokenizer
        comparison.check(f"vocab.txt, {name}", folder, reference, random_texts(rng, 5000, extra))


def check_saving(comparison, work, rng):
    """What bft_tokenizer_save writes gives transformers and ourselves the ids of the original."""
    for folder in sorted(path for path in work.iterdir() if path.is_dir()):
        saved, again = work / f"saved-{folder.name}", work / f"again-{folder.name}"
        for source, target in ((folder, saved), (saved, again)):
            subprocess.run([comparison.program, str(source), "--save", str(target)], check=True)
        for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            if (saved / name).read_bytes() != (again / name).read_bytes():
                comparison.differences += 1
                print(f"{saved / name}: saved again, it has other bytes")
        reference = AutoTokenizer.from_pretrained(saved).backend_tokenizer
        texts = list(random_texts(rng, 3000, ["<t5>", "WordA", "<x>", "<A>", "late", "[MASK]"]))
        comparison.check(f"{folder.name} saved: transformers on it, bertft on the original", folder, reference, texts)
        comparison.check(f"{folder.name} saved: both on it", saved, reference, texts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=pathlib.Path, help="a folder that holds data/vocab")
    parser.add_argument("--program", default="build/tests/tokenize_stream", help="tokenize_stream, built")
    parser.add_argument("--quick", action="store_true", help="every scalar on the first vocabulary only")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    comparison, rng = Comparison(arguments.program), random.Random(arguments.seed)
    if arguments.shared:
        folders = [arguments.shared / "data" / "vocab" / name for name in SHARED]
    else:
        folders = [OWN]
    vocabularies = [(folder / "vocab.txt").read_text().rstrip("\n").split("\n") for folder in folders]
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        check_vocab_folders(comparison, vocabularies[0], work, rng)
        check_added_tokens(comparison, vocabularies[0], work, rng)
        if arguments.shared:
            check_many_added_tokens(comparison, folders[-1] / "tokenizer-plus-1639-added.json", work, rng)
        check_saving(comparison, work, rng)
        for index, (folder, tokens) in enumerate(zip(folders, vocabularies)):
            check_vocabulary(comparison, folder.name, tokens, work, rng, index == 0 or not arguments.quick)
    print(f"{comparison.texts} strings, {comparison.differences} differences (seed {arguments.seed})")
    return 1 if comparison.differences else 0


if __name__ == "__main__":
    sys.exit(main())
