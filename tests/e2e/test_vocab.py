"""bertft vocab: text in, the folder of a tokenizer out."""
import gzip
import json

import pytest

LINES = "Привет, мир! Привет, мир\nмиры и мирок\n"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        data = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def tokens(folder):
    return (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]


def test_learns_and_tokenizes(bertft, tmp_path, write):
    folder = tmp_path / "new" / "words"
    result = bertft("vocab", "-o", folder, write("a.txt", LINES))
    assert result.returncode == 0 and result.stdout == b""
    assert b" tokens, from 10 words (7 different) of 2 texts" in result.stderr
    learnt = tokens(folder)
    assert learnt[:5] == SPECIAL and "мир" in learnt and "привет" in learnt
    assert bertft.jsonl("tokenize", "-m", folder, "--tokens", input="ПРИВЕТ мир[MASK]!\n") == [
        ["[CLS]", "привет", "мир", "[MASK]", "!", "[SEP]"]]
    assert sorted(path.name for path in folder.iterdir()) == [
        "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    (folder / "tokenizer.json").unlink()  # vocab.txt and the settings say the same
    assert bertft.jsonl("tokenize", "-m", folder, input="Привет\n") == [[2, learnt.index("привет"), 3]]


def test_every_form_of_the_same_text_gives_the_same_vocabulary(bertft, tmp_path, write):
    rows = LINES.splitlines()
    quoted = "".join(f'1,"{row}"\n' for row in rows)
    forms = [
        ([], None, LINES),
        ([], [write("a.txt", LINES)], ""),
        ([], [write("b.txt.gz", LINES)], ""),
        ([], [write("c", LINES.replace("\n", "\r\n"))], ""),
        ([], [write("d.txt", rows[1]), write("e.txt", rows[0] + "\n")], ""),
        ([], [write("f.csv", "label,text\n" + quoted)], ""),
        (["--text", "words"], [write("g.csv.gz", "label,words\n" + quoted)], ""),
        (["--text", "1"], [write("h.csv", quoted)], ""),
        ([], [write("i.tsv", "text\n" + LINES)], ""),
        ([], [write("j.jsonl.gz", "".join(json.dumps({"text": row}) + "\n" for row in rows))], ""),
        ([], ["-"], LINES),
    ]
    found = set()
    for i, (options, files, text) in enumerate(forms):
        bertft.ok("vocab", "-o", tmp_path / str(i), *options, *(files or []), input=text)
        found.add(tuple((path.name, path.read_bytes()) for path in sorted((tmp_path / str(i)).iterdir())))
    assert len(found) == 1


def test_options(bertft, tmp_path, write):
    source = write("a.txt", "Ёлка ёлка ёлка 中文 中文 тест тест\n")

    def learnt(*options):
        bertft.ok("vocab", "-o", tmp_path / "out", "--overwrite", *options, source)
        config = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
        return tokens(tmp_path / "out"), [
            config[key] for key in ("do_lower_case", "strip_accents", "tokenize_chinese_chars")]

    words, config = learnt()
    assert "елка" in words and "тест" in words and config == [True, True, True]
    words, config = learnt("--cased")
    assert "ёлка" in words and "Ё" in words and config == [False, False, True]
    words, config = learnt("--keep-accents", "--no-chinese")
    assert "ёлка" in words and "中文" in words and config == [True, False, False]
    words, config = learnt("--cased", "--strip-accents")
    assert "елка" in words and "Е" in words and config == [False, True, True]
    words, _ = learnt("--min-count", 3)
    assert "елка" in words and "тест" not in words
    assert len(learnt("--size", 25)[0]) == 25
    assert [word for word in learnt("--alphabet", 1)[0] if "##" not in word] == SPECIAL + ["е"]


def test_a_small_text_says_so(bertft, tmp_path):
    result = bertft("vocab", "-o", tmp_path / "out", input="да да нет\n")
    assert result.returncode == 0 and b"30522 were asked for" in result.stderr


def test_overwriting(bertft, golden, tmp_path):
    bertft.ok("vocab", "-o", tmp_path / "out", input="да да\n")
    assert "--overwrite replaces it" in bertft.fails(2, "vocab", "-o", tmp_path / "out", input="нет нет\n")
    assert "да" in tokens(tmp_path / "out")
    bertft.ok("vocab", "-o", tmp_path / "out", "--overwrite", input="нет нет\n")
    assert "нет" in tokens(tmp_path / "out") and "да" not in tokens(tmp_path / "out")
    assert "holds a model" in bertft.fails(2, "vocab", "-o", golden, "--overwrite", input="да\n")


def test_a_failure_leaves_the_old_vocabulary(bertft, tmp_path, write):
    bertft.ok("vocab", "-o", tmp_path / "out", input="да да\n")
    before = tokens(tmp_path / "out")
    bad = write("bad.txt.gz", LINES)
    bad.write_bytes(bad.read_bytes()[:-12])
    assert f"{bad}:" in bertft.fails(2, "vocab", "-o", tmp_path / "out", "--overwrite", bad)
    assert tokens(tmp_path / "out") == before


@pytest.mark.parametrize("options, message", [
    ([], "-o DIR is missing"),
    (["-o", "out", "--size", "many"], "--size is a number from 6, not 'many'"),
    (["-o", "out", "--size", "5"], "--size is a number from 6"),
    (["-o", "out", "--size", "99999999"], "at most 4194304 tokens"),
    (["-o", "out", "--size", "-1"], "--size is a number"),
    (["-o", "out", "--min-count", "0"], "--min-count is a number from 1"),
    (["-o", "out", "--cased", "--uncased"], "go against each other"),
    (["-o", "out", "--keep-accents", "--strip-accents"], "go against each other"),
    (["-o", "out", "--sise", "9"], "the nearest is --size"),
    (["-o", "out", "missing.txt"], "missing.txt: "),
    (["-o", "out", "missing.csv"], "missing.csv: "),
    (["-o", "out", "--size", "7"], "no room for its alphabet of 2 characters"),
])
def test_wrong_usage(bertft, tmp_path, options, message):
    assert message in bertft.fails(2, "vocab", *options, input="да да\n", cwd=tmp_path)


@pytest.mark.parametrize("name, text, message", [
    ("a.csv", "label,words\n1,да\n", ':1: no column "text"'),
    ("b.csv", 'text\n"да\nда\n', ":2: "),
    ("c.csv", "text,label\nда,1\nда\n", ":3: 1 columns, where the first row has 2"),
    ("d.jsonl", '{"text": "да"}\n{"text": 1}\n', ':2: "text" must be a string'),
    ("e.jsonl", '{"text": "да"}\nда\n', ":2: "),
    ("f.csv", b"text\n\xff\xfe\n", ":2: the text isn't UTF-8"),
    ("g.txt", "\n \n", "there are no words"),
    ("h.txt", "", "there are no words"),
    ("i.txt.gz", "\n", "there are no words"),
])
def test_wrong_files(bertft, tmp_path, write, name, text, message):
    assert message in bertft.fails(2, "vocab", "-o", tmp_path / "out", write(name, text))
    assert not list((tmp_path / "out").iterdir())


def test_broken_text_is_read_with_a_warning(bertft, tmp_path, write):
    source = write("a.txt", "да да\n".encode() + b"\xff\xfe \xc0\n" + b"\0" * 100 + "да\n".encode())
    result = bertft("vocab", "-o", tmp_path / "out", source)
    assert result.returncode == 0 and result.stderr.count(b"warning") == 1 and b"a.txt:2: isn't UTF-8" in result.stderr
    assert tokens(tmp_path / "out") == SPECIAL + ["а", "д", "##а", "да"]


def test_words_that_are_too_long_are_counted(bertft, tmp_path):
    result = bertft("vocab", "-o", tmp_path / "out", input="ж" * 101 + " да да\n")
    assert b"1 words of more than 100 characters" in result.stderr and "ж" not in tokens(tmp_path / "out")


def test_a_folder_that_cannot_be_made_fails_before_the_work(bertft, tmp_path, write):
    bertft.fails(1, "vocab", "-o", write("file", "") / "out", tmp_path / "missing.txt")


def test_help(bertft):
    assert b"--min-count" in bertft.ok("vocab", "--help")
    assert b"vocab" in bertft.ok("--help")
