"""predict: formats, summaries, scores, streaming."""
import csv
import io
import json
import math
import os
import pty
import select
import subprocess

import pytest

DIALOGS = (
    "Клиент: не работает оплата, верните деньги!\n"
    "Оператор: Где мой заказ?\n"
    "[10:15] Клиент: боюсь, что деньги пропали\n"
    "спасибо\n"
    "Клиент: Где мой заказ? уже три дня жду, никто не отвечает... ok\n"
    "\n"
    "\n"
    "Operator 2: is my order late?\n"
    "Client 3: ?\n"
    "\n"
    "Оператор: ну что за день\n"
)
NEGATIVE = ("DIALOG.NEGATIVE", "['anger', 'fear']")


def records(bertft, golden, *arguments, text=DIALOGS):
    return bertft.jsonl("predict", "-m", golden, "--format", "jsonl", "--scores", "all", *arguments, *NEGATIVE,
                        input=text)


# ---- The model that ships ----


def test_a_fresh_clone_reads_with_what_ships(bertft, trained, place, tmp_path):
    """Before anything was trained, checkpoints/mini-ru-tone answers; then the newest run does."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mini-ru-tone").symlink_to(bertft.root / "checkpoints" / "mini-ru-tone")
    text = "Клиент: Это просто издевательство, верните деньги!\nКлиент: спасибо, всё заработало, вы супер\nКлиент: Договор 4471902\n"
    turns = [r for r in bertft.jsonl("predict", "--format", "jsonl", input=text, cwd=tmp_path) if "turn" in r]
    assert [turn["label"] for turn in turns] == ["anger", "joy", "no_emotion"]
    (tmp_path / "checkpoints" / "latest").symlink_to(trained)
    named, newest = (bertft.ok("predict", *words, input=text, cwd=tmp_path) for words in (("-m", trained), ()))
    assert newest == named


# ---- JSON lines ----


def test_turns(bertft, golden):
    turns = [record for record in records(bertft, golden) if "turn" in record]
    assert [(t["dialog"], t["turn"], t["speaker"]) for t in turns] == [
        (0, 0, "client"), (0, 1, "operator"), (0, 2, "client"), (0, 3, "client"), (0, 4, "client"),
        (1, 0, "Operator 2"), (1, 1, "Client 3"), (2, 0, "operator")]
    assert [t["text"] for t in turns][:4] == ["не работает оплата, верните деньги!", "Где мой заказ?",
                                             "боюсь, что деньги пропали", "спасибо"]
    for turn in turns:
        assert list(turn) == ["dialog", "turn", "speaker", "text", "label", "score", "scores"]
        assert list(turn["scores"]) == ["anger", "fear", "радость", "грусть", "no_emotion"]
        assert math.isclose(sum(turn["scores"].values()), 1, rel_tol=1e-6)
        assert turn["score"] == max(turn["scores"].values()) == turn["scores"][turn["label"]]


def test_scores_are_those_of_transformers(bertft, golden):
    """The logits that tests/golden/make.py wrote down, raw and through softmax."""
    expected = json.loads((golden / "expected.json").read_text())
    logits = read_tensor(golden / "expected.safetensors", "logits.pooler")
    text = "\n".join(expected["texts"][:len(logits)])
    arguments = ("predict", "-m", golden, "--lines", "--format", "jsonl", "--scores")
    for raw, soft, row in zip(bertft.jsonl(*arguments, "raw", input=text), bertft.jsonl(*arguments, "all", input=text),
                              logits, strict=True):
        total = sum(math.exp(value) for value in row)
        for label, value in zip(expected["labels"], row):
            assert abs(raw["scores"][label] - value) < 2e-5
            assert abs(soft["scores"][label] - math.exp(value) / total) < 2e-5


def read_tensor(path, name):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:8 + size])[name]
    assert entry["dtype"] == "F32"
    start, end = entry["data_offsets"]
    values = memoryview(data[8 + size + start:8 + size + end]).cast("f").tolist()
    width = entry["shape"][1]
    return [values[i:i + width] for i in range(0, len(values), width)]


def test_summaries(bertft, golden):
    """Every figure again, in Python, from the turns that were printed."""
    output = records(bertft, golden)
    assert [list(record)[1] for record in output].count("summary") == 3
    turns = []
    for record in output:
        if "turn" in record:
            turns.append(record)
            continue
        assert list(record) == ["dialog", "summary"]
        check_summary(record["summary"], turns)
        turns = []


def check_summary(summary, turns):
    client = [turn for turn in turns if turn["speaker"].lower().startswith("client")]
    bad = [turn["label"] in ("anger", "fear") for turn in client]
    tone = [turn["scores"]["anger"] + turn["scores"]["fear"] for turn in client]
    assert summary["turns"] == len(turns) and summary["client_turns"] == len(client)
    assert summary["negative_turns"] == sum(bad)
    if not client:
        assert summary["negative_share"] is None and summary["first"] is None and summary["worst"] is None
        return
    assert math.isclose(summary["negative_share"], sum(bad) / len(bad), rel_tol=1e-6)
    worst = tone.index(max(tone))
    for name, place in (("first", 0), ("last", -1), ("worst", worst)):
        assert (summary[name]["turn"], summary[name]["label"]) == (client[place]["turn"], client[place]["label"])
        assert math.isclose(summary[name]["negativity"], tone[place], rel_tol=1e-6)
    stretches = []
    for turn, negative, before in zip(client, bad, [False] + bad):
        if negative and before:
            stretches[-1] = {**stretches[-1], "to": turn["turn"], "turns": stretches[-1]["turns"] + 1}
        elif negative:
            stretches.append({"from": turn["turn"], "to": turn["turn"], "turns": 1})
    assert summary["stretches"] == stretches and summary["stretch_count"] == len(stretches)
    n = len(client)
    if n == 1:
        assert summary["trend"] is None
        return
    middle, mean = (n - 1) / 2, sum(tone) / n
    slope = sum((i - middle) * (y - mean) for i, y in enumerate(tone)) / sum((i - middle) ** 2 for i in range(n))
    assert math.isclose(summary["trend"], slope * (n - 1), rel_tol=1e-5, abs_tol=1e-6)


def test_the_sample_dialogues(bertft, golden):
    """All of data/dialogs.txt: more turns than a batch, every summary."""
    text = (bertft.root / "data" / "dialogs.txt").read_text()
    turns = []
    for record in records(bertft, golden, text=text):
        if "turn" in record:
            turns.append(record)
        else:
            check_summary(record["summary"], turns)
            turns = []
    assert not turns and record["dialog"] == text.strip().count("\n\n")


def test_stretches_are_capped(bertft, golden):
    texts = json.loads((golden / "expected.json").read_text())["texts"]
    answers = records(bertft, golden, "--lines", text="\n".join(texts))
    words = {answer["label"]: answer["text"] for answer in answers}
    (bad, angry), (_, calm) = list(words.items())[:2]
    text = f"Клиент: {angry}\nКлиент: {calm}\n" * 4
    summary = bertft.jsonl("predict", "-m", golden, "--format", "jsonl", "DIALOG.NEGATIVE", f"['{bad}']",
                           "DIALOG.MAX_STRETCHES", 2, input=text)[-1]["summary"]
    assert summary["stretch_count"] == 4
    assert [s["from"] for s in summary["stretches"]] == [0, 2]


def test_top_scores(bertft, golden):
    for turn in bertft.jsonl("predict", "-m", golden, "--lines", "--format", "jsonl", input="ok\nспасибо\n"):
        assert turn["scores"] == {turn["label"]: turn["score"]}


def test_lines(bertft, golden):
    text = "Клиент: ok\n\n[10:00] спасибо\n   \n"
    answers = bertft.jsonl("predict", "-m", golden, "--lines", "--format", "jsonl", input=text)
    assert [answer["line"] for answer in answers] == [0, 1, 2, 3]
    assert [answer["text"] for answer in answers] == text.split("\n")[:-1]
    assert "summary" not in json.dumps(answers)


def test_jsonl_input(bertft, golden):
    lines = [{"text": "Клиент: две\nстроки"}, {"text": "и \"кавычки\"\u0000", "id": 7}, {"text": ""},
             {"text": "Оператор: ok"}]
    output = records(bertft, golden, "--input", "jsonl", text="\n".join(map(json.dumps, lines)))
    turns = [record for record in output if "turn" in record]
    assert [t["text"] for t in turns] == ["две\nстроки", "и \"кавычки\"\u0000", "ok"]
    assert [t["dialog"] for t in turns] == [0, 0, 1]


# ---- Problems other than one label of several ----


def test_multi_label(bertft, edited):
    folder = edited(problem_type="multi_label_classification")
    arguments = ("predict", "-m", folder, "--format", "jsonl", "--scores", "all", *NEGATIVE)
    seen = set()
    for threshold in (0.1, 0.5, 0.99):
        output = bertft.jsonl(*arguments, "EVAL.THRESHOLD", threshold, input="Клиент: верните\nспасибо\nok\n")
        tones = []
        for turn in output[:-1]:
            chosen = [label for label, score in turn["scores"].items() if score >= threshold]
            assert turn["label"] == ("+".join(chosen) or "-")
            assert turn["score"] == max(turn["scores"].values())
            tones.append((any(label in ("anger", "fear") for label in chosen),
                          max(turn["scores"]["anger"], turn["scores"]["fear"])))
            seen.add(len(chosen))
        summary = output[-1]["summary"]
        assert summary["negative_turns"] == sum(negative for negative, _ in tones)
        assert math.isclose(summary["worst"]["negativity"], max(tone for _, tone in tones), rel_tol=1e-6)
    assert 0 in seen and 5 in seen
    nothing = bertft.jsonl(*arguments, "EVAL.THRESHOLD", 1, "DATA.EMPTY_LABEL", "calm", input="ok\n")
    assert nothing[0]["label"] == "calm"


def test_regression_has_values_only(bertft, edited):
    folder = edited(problem_type="regression")
    raw = bertft.jsonl("predict", "-m", folder, "--format", "jsonl", "--scores", "raw", input="Клиент: спасибо\n")
    turn, summary = raw[0], raw[1]["summary"]
    assert turn["label"] is None and turn["score"] == list(turn["scores"].values())[0]
    assert summary["negative_turns"] is None and summary["first"] == {"turn": 0, "label": None, "negativity": None}


def test_unnamed_problem_is_softmax(bertft, edited, golden):
    text = "спасибо\nверните\n"
    arguments = ("--lines", "--format", "jsonl", "--scores", "all")
    assert bertft.ok("predict", "-m", edited(problem_type=None), *arguments, input=text) == \
        bertft.ok("predict", "-m", golden, *arguments, input=text)


def test_negative_labels_that_the_model_lacks(bertft, golden):
    error = bertft.fails(2, "predict", "-m", golden, "DIALOG.NEGATIVE", "['rage']", input="ok\n")
    assert "rage" in error and "anger, fear" in error


def test_no_negative_label_by_default(bertft, edited):
    folder = edited(id2label={str(i): f"LABEL_{i}" for i in range(5)}, label2id={f"LABEL_{i}": i for i in range(5)})
    result = bertft("predict", "-m", folder, "--format", "jsonl", input="ok\n")
    assert result.returncode == 0 and b"LABEL_0, LABEL_1" in result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])["summary"]
    assert summary["negative_share"] is None and summary["first"]["label"].startswith("LABEL_")


# ---- TSV, CSV ----

AWKWARD = ['a\tb\\c "d"', 'x, "y"', "two\nlines\r\nhere", "\u001b[31mred\u0085ish", "", "конец"]


def awkward_input():
    return "\n".join(json.dumps({"text": "Клиент: " + text}) for text in AWKWARD)


def shown(text):
    return text.replace("\u001b", "\ufffd").replace("\u0085", "\ufffd")


def test_csv_reads_back(bertft, golden):
    data = bertft.ok("predict", "-m", golden, "--format", "csv", "--scores", "all", "--input", "jsonl", *NEGATIVE,
                     input=awkward_input()).decode()
    rows = list(csv.DictReader(io.StringIO(data, newline="")))
    assert [row["text"] for row in rows[:-1]] == [shown(text) for text in AWKWARD]
    assert rows[-1]["speaker"] == "summary" and rows[-1]["text"].startswith("turns=6 client_turns=6 ")
    for row in rows[:-1]:
        assert float(row["score"]) == float(row["score." + row["label"]])
    assert list(rows[0]) == ["dialog", "turn", "speaker", "label", "score", "score.anger", "score.fear",
                             "score.радость", "score.грусть", "score.no_emotion", "text"]


def test_tsv_reads_back(bertft, golden):
    data = bertft.ok("predict", "-m", golden, "--input", "jsonl", *NEGATIVE, input=awkward_input()).decode()
    rows = [line.split("\t") for line in data.split("\n")]
    assert rows.pop() == [""]
    assert rows[0] == ["dialog", "turn", "speaker", "label", "score", "text"]
    assert all(len(row) == 6 for row in rows)
    back = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\"}
    for row, text in zip(rows[1:], AWKWARD):
        unescaped, i = "", 0
        while i < len(row[5]):
            step = 2 if row[5][i] == "\\" else 1
            unescaped += back.get(row[5][i:i + step], row[5][i:i + step])
            i += step
        assert unescaped == shown(text)


def test_formats_agree(bertft, golden):
    table = bertft.ok("predict", "-m", golden, "--format", "tsv", input=DIALOGS).decode().splitlines()[1:]
    turns = bertft.jsonl("predict", "-m", golden, "--format", "jsonl", input=DIALOGS)
    assert len(table) == len(turns)
    for row, turn in zip(table, turns):
        if "turn" in turn:
            assert row.split("\t")[:5] == [str(turn["dialog"]), str(turn["turn"]), turn["speaker"], turn["label"],
                                           f"{turn['score']:.9g}"]


# ---- The table and the terminal ----


def on_terminal(bertft, *arguments, columns=80, env=None):
    """What predict writes to a terminal of its own."""
    import fcntl
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([bertft.path, "predict", *map(str, arguments)], stdout=child, stderr=subprocess.DEVNULL,
                               cwd=bertft.root, env={**os.environ, "TERM": "xterm", **(env or {})})
    os.close(child)
    data = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:  # the terminal's other side is closed
            break
        if not piece:
            break
        data += piece
    os.close(parent)
    assert process.wait(60) == 0
    return data.decode()


@pytest.fixture
def dialog_file(tmp_path):
    path = tmp_path / "dialogs.txt"
    path.write_text(DIALOGS + "Клиент: \u001b]0;title\u0007 " + "длинный текст " * 20 + "\n" + "日本語" * 60 + "\n")
    return path


def test_table_on_a_terminal(bertft, golden, dialog_file):
    text = on_terminal(bertft, "-m", golden, dialog_file, *NEGATIVE)
    assert "\u001b[31m" in text or "\u001b[33m" in text or "\u001b[32m" in text
    assert "dialogue 0" in text and "summary" in text
    plain = on_terminal(bertft, "-m", golden, dialog_file, *NEGATIVE, env={"NO_COLOR": "1"})
    assert "\u001b" not in plain and "\u0007" not in plain
    assert "\ufffd]0;title\ufffd" in plain
    for line in plain.splitlines():
        assert len(line) + sum(1 for c in line if "日" <= c <= "語") <= 80
    assert any(line.endswith("…") for line in plain.splitlines())
    assert "\u001b" not in on_terminal(bertft, "-m", golden, dialog_file, env={"TERM": "dumb"})


def test_table_into_a_file_has_whole_texts(bertft, golden, dialog_file):
    text = bertft.ok("predict", "-m", golden, "--format", "table", dialog_file).decode()
    assert "\u001b" not in text and "日本語" * 60 in text


# ---- Streams ----


def answer(process, seconds=30):
    """A line of the answer, which must come while our end stays open."""
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    assert ready, "no answer while the input waits"
    return process.stdout.readline().decode()


def test_answers_while_the_input_waits(bertft, golden):
    process = subprocess.Popen([bertft.path, "predict", "-m", golden, "--format", "jsonl"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=bertft.root, bufsize=0)

    def write(data):
        process.stdin.write(data)

    write("Клиент: верните\n".encode())
    assert json.loads(answer(process))["text"] == "верните"
    for i in range(20):  # half a line behind a whole one holds nothing back, whether it comes at once or later
        write(b"ok %d\n" % i)
        write(b"hal")
        assert json.loads(answer(process))["text"] == f"ok {i}"
        write(b"f\n")
        assert json.loads(answer(process))["text"] == "half"
    write(b"\n")
    assert json.loads(answer(process))["summary"]["client_turns"] == 41
    write("Оператор: конец".encode())
    rest, errors = process.communicate(timeout=60)
    assert [json.loads(line)["dialog"] for line in rest.splitlines()] == [1, 1]
    assert process.returncode == 0 and errors == b""


def test_line_ends_marks_and_broken_bytes(bertft, golden):
    plain = bertft.ok("predict", "-m", golden, input=DIALOGS)
    assert bertft.ok("predict", "-m", golden, input=DIALOGS.replace("\n", "\r\n")) == plain
    assert bertft.ok("predict", "-m", golden, input=DIALOGS[:-1]) == plain
    assert bertft.ok("predict", "-m", golden, input="\ufeff" + DIALOGS) == plain
    result = bertft("predict", "-m", golden, "--format", "jsonl", input=b"ok\na\xffb\xd0\n\xff\n")
    assert json.loads(result.stdout.splitlines()[1])["text"] == "a\ufffdb\ufffd"
    warnings = [line for line in result.stderr.decode().splitlines() if "UTF-8" in line]
    assert len(warnings) == 1 and "<stdin>:2: isn't UTF-8" in warnings[0]


def test_gzip_and_files(bertft, golden, tmp_path):
    import gzip

    path = tmp_path / "dialogs.txt.gz"
    path.write_bytes(gzip.compress(DIALOGS.encode()))
    assert bertft.ok("predict", "-m", golden, path) == bertft.ok("predict", "-m", golden, input=DIALOGS)


def test_huge_line(bertft, golden):
    text = "Клиент: " + "ок " * 1_000_000 + "\nКлиент: спасибо\n"
    result = bertft("predict", "-m", golden, "--format", "jsonl", input=text)
    turns = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0 and [t.get("turn") for t in turns] == [0, 1, None]
    assert len(turns[0]["text"].encode()) <= 65536 and turns[1]["text"] == "спасибо"
    warnings = result.stderr.decode().splitlines()
    assert len(warnings) == 2 and all(line.startswith("bertft: warning: <stdin>:1: ") for line in warnings)
    error = bertft.fails(2, "predict", "-m", golden, "--input", "jsonl", input=json.dumps({"text": "a" * 100_000}))
    assert error.startswith("<stdin>:1: ")


def test_endless_input_in_bounded_memory(bertft, golden):
    """Peak memory after 20,000 turns is what it is after 200."""
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); " \
             "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"

    def peak(turns):
        command = ["python3", "-c", script, bertft.path, "predict", "-m", str(golden), "--threads", "1"]
        text = "Клиент: верните деньги, пожалуйста\n" * turns
        result = subprocess.run(command, input=text.encode(), capture_output=True, check=True, cwd=bertft.root)
        return int(result.stdout)

    assert peak(20_000) < peak(200) + 4096  # KiB


def test_nothing_in_nothing_out(bertft, golden):
    assert bertft.ok("predict", "-m", golden, "--format", "jsonl") == b""
    assert bertft.ok("predict", "-m", golden, "--format", "jsonl", input="\n\n\n") == b""


def test_threads_do_not_change_answers(bertft, golden):
    one, two = (bertft.ok("predict", "-m", golden, "--threads", n, "--scores", "raw", input=DIALOGS) for n in (1, 2))
    assert one == two


def test_a_trained_run(bertft, trained, place):
    turns = bertft.jsonl("predict", "-m", trained, "--format", "jsonl", "--scores", "all", input=DIALOGS)
    assert set(turns[0]["scores"]) == {"anger", "fear", "joy", "no_emotion", "sadness", "surprise"}
    assert turns == bertft.jsonl("predict", "--format", "jsonl", "--scores", "all", input=DIALOGS, cwd=place)


def test_an_empty_text_ends_a_dialogue_in_json(bertft, golden):
    lines = [{"text": "Клиент: a\nb"}, {"text": "Оператор: c"}, {"text": ""}, {"text": "d"}]
    records = bertft.jsonl("predict", "-m", golden, "--format", "jsonl", "--input", "jsonl",
                           input="\n".join(map(json.dumps, lines)))
    assert [(r["dialog"], r.get("speaker"), r.get("text")) for r in records] == [
        (0, "client", "a\nb"), (0, "operator", "c"), (0, None, None), (1, "client", "d"), (1, None, None)]
