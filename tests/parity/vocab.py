#!/usr/bin/env python3
"""Compares the vocabularies of `bertft vocab` with those of tokenizers' WordPieceTrainer from the same text: tokens a word on
held-out text, and how many tokens are in both.

    python tests/parity/vocab.py [--build build] [--shared ../shared]

The trainer breaks ties by the order of a hash table, so two runs of it differ by some rare tokens too.
"""
import csv
import gzip
import json
import sys

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

from common import Checks, arguments, bertft

SIZES, MIN_COUNT, ALPHABET = (2000, 8000, 30000), 2, 1000
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LIMIT = 0.02  # of tokens a word
TEXTS = (  # name, folder, training and held-out files, the column of text
    ("CEDR", "cedr", "cedr-main-train.csv.gz", "cedr-main-test.csv.gz", "text"),
    ("RuReviews", "ru-reviews", "validation.jsonl.gz", "test-head70.jsonl.gz", "text"),
    ("GoEmotions", "goemotions-en/ekman", "train.tsv.gz", "dev.tsv.gz", "0"),
)


def corpora(options):
    for name, folder, train, held_out, column in TEXTS:
        folder = options.shared / "data" / folder
        if folder.is_dir():
            yield name, folder / train, folder / held_out, column
    yield "support-ru", "data/support-ru/train.tsv", "data/support-ru/valid.tsv", "text"


def read(path, column):
    opened = gzip.open if str(path).endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        if ".jsonl" in str(path):
            return [json.loads(line)[column] for line in file]
        tabs = dict(delimiter="\t", quoting=csv.QUOTE_NONE) if ".tsv" in str(path) else {}
        if column.isdigit():
            return [row[int(column)] for row in csv.reader(file, **tabs)]
        return [row[column] for row in csv.DictReader(file, **tabs)]


def reference(texts, size, lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=size, min_frequency=MIN_COUNT, limit_alphabet=ALPHABET,
                                        special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def count(tokenizer, texts):
    return sum(len(encoding.ids) for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False))


def count_words(tokenizer, texts):
    normalize, cut = tokenizer.normalizer.normalize_str, tokenizer.pre_tokenizer.pre_tokenize_str
    return sum(len(cut(normalize(text))) for text in texts)


def other_ids(options, folder, texts):
    """How many texts get other ids from `bertft tokenize` than from AutoTokenizer on the same folder."""
    lines = [text for text in texts if not set(text) & set("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")]
    ours = bertft(options, "tokenize", "-m", folder, text="".join(line + "\n" for line in lines)).splitlines()
    theirs = AutoTokenizer.from_pretrained(folder)(lines)["input_ids"]
    assert len(ours) == len(theirs)
    return sum(json.loads(a) != b for a, b in zip(ours, theirs))


def compare(options, checks, name, train, held_out, column, size, cased):
    folder, label = options.work / "vocab", f"{name}, {size} tokens, {'cased' if cased else 'uncased'}"
    bertft(options, "vocab", "-o", folder, "--overwrite", "--size", size, "--min-count", MIN_COUNT, "--alphabet", ALPHABET,
           *["--cased"] * cased, "--text", column, train)
    ours, theirs = Tokenizer.from_file(str(folder / "tokenizer.json")), reference(read(train, column), size, not cased)
    texts = read(held_out, column)
    words, mine, reference_count = count_words(theirs, texts), count(ours, texts), count(theirs, texts)
    a, b = set(ours.get_vocab()), set(theirs.get_vocab())
    print(f"        {label}: {mine / words:.5f} tokens a word, the trainer's {reference_count / words:.5f}; "
          f"{len(a)} tokens, the trainer's {len(b)}, {len(a & b)} in both")
    checks.within(f"{label}: tokens a word, relative", abs(mine / reference_count - 1), LIMIT)
    checks.within(f"{label}: texts with other ids in AutoTokenizer", other_ids(options, folder, texts), 0)


def main():
    options, checks = arguments(__doc__), Checks()
    for corpus in corpora(options):
        for size in SIZES:
            for cased in (False, True):
                compare(options, checks, *corpus, size, cased)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
