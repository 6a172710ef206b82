"""embed and tokenize."""
import json
import math
import shutil
import struct

import pytest

TEXTS = ["не работает оплата, верните деньги!", "", "спасибо", "две\nстроки", "Где мой заказ? уже три дня жду"]


def as_jsonl(texts):
    return "\n".join(json.dumps({"text": text}) for text in texts) + "\n"


def vectors(bertft, folder, *arguments, texts=TEXTS):
    return bertft.jsonl("embed", "-m", folder, "--input", "jsonl", *arguments, input=as_jsonl(texts))


def read_tensors(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            tensors[name] = memoryview(data[8 + size + start:8 + size + end]).cast("f").tolist()
    return tensors


def pack(values, dtype):
    if dtype == "BF16":  # the upper half of a float
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{'f' if dtype == 'F32' else 'e'}", *values)


def write_tensors(path, tensors, dtype="F32"):
    header, body = {}, b""
    for name, (shape, values) in tensors.items():
        data = pack(values, dtype)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def close(a, b, bound=2e-5):
    return len(a) == len(b) and all(abs(x - y) < bound for x, y in zip(a, b))


# ---- Vectors ----


def test_hidden_states_of_transformers(bertft, golden):
    """cls and mean over the hidden states that tests/golden/make.py wrote down."""
    expected = json.loads((golden / "expected.json").read_text())
    hidden = read_tensors(golden / "expected.safetensors")["hidden"]
    texts = expected["texts"][:expected["batch"]]
    cls = vectors(bertft, golden, "--pooling", "cls", texts=texts)
    mean = vectors(bertft, golden, "--pooling", "mean", texts=texts)
    pooled = vectors(bertft, golden, "--pooling", "pooler", texts=texts)
    width, row = len(cls[0]), 0
    tensors = read_tensors(golden / "model.safetensors")
    weight, bias = tensors["bert.pooler.dense.weight"], tensors["bert.pooler.dense.bias"]
    for i, ids in enumerate(expected["ids"][:expected["batch"]]):
        rows = [hidden[(row + k) * width:(row + k + 1) * width] for k in range(len(ids))]
        row += len(ids)
        assert close(cls[i], rows[0])
        assert close(mean[i], [sum(column) / len(rows) for column in zip(*rows)])
        assert close(pooled[i], [math.tanh(bias[o] + sum(w * x for w, x in zip(weight[o * width:], rows[0])))
                                 for o in range(width)])


def test_nine_digits_and_order(bertft, golden):
    texts = [" ".join(["ok"] * (i * 7 % 30 + 1)) for i in range(150)]  # several batches, sorted by length inside
    together = bertft.ok("embed", "-m", golden, input="\n".join(texts)).decode().splitlines()
    assert len(together) == len(texts)
    alone = bertft.ok("embed", "-m", golden, input=texts[77]).decode().strip()
    assert close(json.loads(together[77]), json.loads(alone), 1e-6)
    for number in alone.strip("[]").split(", "):
        value = struct.unpack("f", struct.pack("f", float(number)))[0]
        assert number == f"{value:.9g}"


@pytest.fixture
def sentence(golden, tmp_path):
    """The golden model as a sentence-transformers folder; the modules' settings as given."""

    def make(pooling, dense=None, tensors=None, normalize=True, max_seq_length=None):
        folder = tmp_path / "sentence"
        shutil.copytree(golden, folder)
        modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        if dense is not None:
            modules.append(("2_Dense", "Dense"))
            (folder / "2_Dense").mkdir()
            (folder / "2_Dense" / "config.json").write_text(json.dumps(dense))
            write_tensors(folder / "2_Dense" / "model.safetensors", tensors)
        if normalize:
            modules.append(("3_Normalize", "Normalize"))
        if max_seq_length is not None:
            (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_seq_length}))
        (folder / "modules.json").write_text(json.dumps(
            [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
             for i, (path, kind) in enumerate(modules)]))
        return folder

    return make


MEAN = {"word_embedding_dimension": 20, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False}


def dense_of(activation, width=3):
    weight = [math.sin(i) for i in range(width * 20)]
    bias = [0.1 * i for i in range(width)]
    config = {"in_features": 20, "out_features": width, "bias": True, "activation_function": activation}
    return config, {"linear.weight": ([width, 20], weight), "linear.bias": ([width], bias)}


@pytest.mark.parametrize("activation", ["torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"])
def test_sentence(bertft, golden, sentence, activation):
    config, tensors = dense_of(activation)
    folder = sentence(MEAN, config, tensors)
    weight, bias = tensors["linear.weight"][1], tensors["linear.bias"][1]
    ours = vectors(bertft, folder)  # modules.json is there: `sentence` is the default
    assert ours == vectors(bertft, folder, "--pooling", "sentence")
    for mean, vector in zip(vectors(bertft, golden, "--pooling", "mean"), ours, strict=True):
        y = [bias[o] + sum(w * x for w, x in zip(weight[o * 20:], mean)) for o in range(3)]
        if "Tanh" in activation:
            y = [math.tanh(value) for value in y]
        length = math.sqrt(sum(value * value for value in y))
        assert close(vector, [value / length for value in y])


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_a_dense_of_another_type(bertft, sentence, dtype):
    """The same vectors as from the same values in F32; eighths are exact in every type."""
    config, tensors = dense_of("torch.nn.modules.linear.Identity")
    tensors = {name: (shape, [round(value * 8) / 8 for value in values]) for name, (shape, values) in tensors.items()}
    folder = sentence(MEAN, config, tensors)
    expected = vectors(bertft, folder)
    write_tensors(folder / "2_Dense" / "model.safetensors", tensors, dtype)
    assert vectors(bertft, folder) == expected


def test_sentence_pooling_by_name_and_its_length(bertft, golden, sentence):
    folder = sentence({"embedding_dimension": 20, "pooling_mode": "cls"}, normalize=False, max_seq_length=5)
    result = bertft("embed", "-m", folder, input="спасибо ok ok ok ok ok\n")
    assert b"longer than 5 tokens" in result.stderr
    cut = "спасибо ok ok"
    assert len(json.loads(bertft.ok("tokenize", "-m", golden, input=cut))) == 5
    assert close(json.loads(result.stdout), vectors(bertft, golden, "--pooling", "cls", texts=[cut])[0])


@pytest.mark.parametrize("change, word", [
    (lambda f: (f / "1_Pooling/config.json").write_text('{"pooling_mode_max_tokens": true}'), "max_tokens"),
    (lambda f: (f / "1_Pooling/config.json").write_text(
        '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}'), "and others"),
    (lambda f: (f / "1_Pooling/config.json").unlink(), "1_Pooling/config.json"),
    (lambda f: (f / "2_Dense/config.json").write_text(json.dumps(dense_of("torch.nn.ReLU")[0])), "ReLU"),
    (lambda f: (f / "2_Dense/config.json").write_text(json.dumps(dense_of("Tanh", 4)[0])), "linear.weight"),
    (lambda f: (f / "2_Dense/config.json").write_text('{"in_features": 21, "out_features": 3}'), "in_features"),
    (lambda f: write_tensors(f / "2_Dense/model.safetensors", {"other": ([1], [0.0])}), "linear.weight"),
    (lambda f: write_tensors(f / "2_Dense/model.safetensors", {
        "linear.weight": ([3, 20], [math.nan] * 60), "linear.bias": ([3], [0.0] * 3)}), "finite"),
    (lambda f: [(f / "2_Dense/config.json").write_text(json.dumps(dense_of("torch.nn.Identity")[0])),
                write_tensors(f / "2_Dense/model.safetensors", {
                    "linear.weight": ([3, 20], [3e38] + [0.0] * 19 + [-3e38] + [0.0] * 39),
                    "linear.bias": ([3], [3e38] * 3)})], "finite"),
    (lambda f: (f / "modules.json").write_text("{}"), "modules.json"),
    (lambda f: (f / "modules.json").write_text("[1, 2]"), "module 0"),
    (lambda f: (f / "modules.json").write_text((f / "modules.json").read_text().replace("2_Dense", "../2_Dense")),
     "out of the folder"),
    (lambda f: (f / "modules.json").write_text((f / "modules.json").read_text().replace("Normalize", "LSTM")), "LSTM"),
])
def test_sentence_folders_that_do_not_fit(bertft, sentence, change, word):
    folder = sentence(MEAN, *dense_of("torch.nn.Tanh"))
    change(folder)
    assert word in bertft.fails(2, "embed", "-m", folder, input="ok\n")


def test_no_modules(bertft, golden):
    assert "modules.json" in bertft.fails(2, "embed", "-m", golden, "--pooling", "sentence", input="ok\n")
    assert vectors(bertft, golden) == vectors(bertft, golden, "--pooling", "cls")


# ---- Ids ----


def test_ids_of_transformers(bertft, golden):
    expected = json.loads((golden / "expected.json").read_text())
    assert bertft.jsonl("tokenize", "-m", golden, input="\n".join(expected["texts"])) == expected["ids"]


def test_tokens(bertft, golden):
    vocabulary = (golden / "vocab.txt").read_text().splitlines()
    ids = bertft.jsonl("tokenize", "-m", golden, "--input", "jsonl", input=as_jsonl(TEXTS))
    tokens = bertft.jsonl("tokenize", "-m", golden, "--tokens", "--input", "jsonl", input=as_jsonl(TEXTS))
    assert len(ids) == len(TEXTS)
    assert [[vocabulary[i] for i in line] for line in ids] == tokens


def test_long_texts_are_tokenized_whole(bertft, golden):
    ids = json.loads(bertft.ok("tokenize", "-m", golden, input="спасибо " * 5000))
    assert len(ids) == 5002
