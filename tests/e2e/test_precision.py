"""Inference in bf16 and int8 on a CPU: how near it is to fp32, what is refused, and the cache of prepared weights."""
import array
import json
import os
import random
import shutil
import struct

import pytest

TEXTS = "Клиент: Спасибо, всё работает\nОператор: Рады помочь\n\nКлиент: Опять не работает интернет\n"

# bfloat16 rounds a weight by up to 2^-9 of itself, int8 by up to 2^-8 of the largest in its row: a score, which moves by less
# than a logit of size 1 does, by some of these.
BOUND = 2**-6


def scores(bertft, folder, *words, **more):
    lines = bertft.jsonl("predict", "-m", folder, "--format", "jsonl", "--scores", "all", *words, input=TEXTS, **more)
    return [list(line["scores"].values()) for line in lines if "scores" in line]


def near(found, expected, bound):
    return len(found) == len(expected) > 0 and all(a == pytest.approx(b, abs=bound) for a, b in zip(found, expected))


@pytest.mark.parametrize("device", ["cpu", "cpu-generic", "ref"])
@pytest.mark.parametrize("precision", ["bf16", "int8", "auto"])
def test_near_fp32(bertft, golden, device, precision):
    before = sorted(os.listdir(golden))
    expected = scores(bertft, golden, "--device", device)
    found = scores(bertft, golden, "--device", device, "--precision", precision)
    assert near(found, expected, BOUND)
    assert found != expected
    assert sorted(os.listdir(golden)) == before  # a small model has no cache


def test_bits_stay_with_threads(bertft, golden):
    one, two = (scores(bertft, golden, "--device", "cpu", "--precision", "int8", "--threads", n) for n in (1, 2))
    assert one == two


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
def test_vectors(bertft, golden, pooling):
    """Mean asks the last layer for all rows, the others for the first ones alone: both ways have weights."""
    words = ["embed", "-m", golden, "--device", "cpu", "--pooling", pooling]
    expected, found = (bertft.jsonl(*words, "--precision", precision, input=TEXTS) for precision in ("fp32", "int8"))
    assert near(found, expected, 2**-4)  # of sizes up to 4, not 1
    assert found != expected


# ---- The cache ----

WIDTH, FEED_FORWARD = 1024, 5120  # one layer of 18 million weights: just enough to be worth a cache


def write_large(folder, golden, seed):
    folder.mkdir()
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(golden / name, folder)
    config = json.loads((golden / "config.json").read_text())
    config.update(hidden_size=WIDTH, intermediate_size=FEED_FORWARD, num_hidden_layers=1, num_attention_heads=16)
    (folder / "config.json").write_text(json.dumps(config))
    layer, linears = "bert.encoder.layer.0", {}
    for part in ("query", "key", "value"):
        linears[f"{layer}.attention.self.{part}"] = (WIDTH, WIDTH)
    linears.update({f"{layer}.attention.output.dense": (WIDTH, WIDTH), f"{layer}.intermediate.dense": (FEED_FORWARD, WIDTH),
                    f"{layer}.output.dense": (WIDTH, FEED_FORWARD), "bert.pooler.dense": (WIDTH, WIDTH),
                    "classifier": (len(config["id2label"]), WIDTH)})
    tensors = {"bert.embeddings.word_embeddings.weight": (config["vocab_size"], WIDTH),
               "bert.embeddings.position_embeddings.weight": (config["max_position_embeddings"], WIDTH),
               "bert.embeddings.token_type_embeddings.weight": (config["type_vocab_size"], WIDTH)}
    for name, (out, width) in linears.items():
        tensors.update({f"{name}.weight": (out, width), f"{name}.bias": (out,)})
    for name in ("bert.embeddings", f"{layer}.attention.output", f"{layer}.output"):
        tensors.update({f"{name}.LayerNorm.{part}": (WIDTH,) for part in ("weight", "bias")})
    draw = random.Random(seed)
    period = array.array("H", (struct.unpack("H", struct.pack("e", draw.gauss(0, 0.05)))[0] for _ in range(8191)))
    header, offset = {}, 0
    for name, shape in tensors.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + 2 * count]}
        offset += 2 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    values = period * (offset // 2 // len(period) + 1)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + values[:offset // 2].tobytes())


@pytest.fixture
def large(golden, tmp_path):
    write_large(tmp_path / "large", golden, 1)
    return tmp_path / "large"


def caches(folder):
    return sorted(folder.glob("*.cache")) if folder.exists() else []


def int8(bertft, folder, **more):
    return scores(bertft, folder, "--device", "cpu", "--precision", "int8", **more)


def test_cache_is_made_and_used(bertft, large):
    first = int8(bertft, large)
    assert near(first, scores(bertft, large, "--device", "cpu"), 2**-3)  # logits of size 10
    [cache] = caches(large)
    assert cache.name.startswith("model.safetensors.cpu-") and cache.name.endswith("-int8.cache")
    made = cache.stat()
    assert int8(bertft, large) == first
    assert cache.stat().st_mtime_ns == made.st_mtime_ns and cache.stat().st_ino == made.st_ino
    assert bertft.ok("embed", "-m", large, "--pooling", "mean", "--device", "cpu", "--precision", "int8", input=TEXTS)
    assert caches(large) == [cache]
    scores(bertft, large, "--device", "cpu", "--precision", "bf16")
    assert len(caches(large)) == 2


def test_a_changed_model_is_prepared_again(bertft, golden, large, tmp_path):
    first = int8(bertft, large)
    [cache] = caches(large)
    before = cache.stat().st_ino
    write_large(tmp_path / "other", golden, 2)
    (tmp_path / "other" / "model.safetensors").rename(large / "model.safetensors")
    second = int8(bertft, large)
    assert second != first and cache.stat().st_ino != before
    assert int8(bertft, large) == second


def damage(cache, at, length=1):
    content = bytearray(cache.read_bytes())
    at %= len(content)
    content[at:at + length] = bytes(byte ^ 0x5A for byte in content[at:at + length])
    cache.write_bytes(content)


@pytest.mark.parametrize("change", [
    lambda cache: os.truncate(cache, cache.stat().st_size - 1),
    lambda cache: os.truncate(cache, cache.stat().st_size // 2),
    lambda cache: os.truncate(cache, 100),
    lambda cache: os.truncate(cache, 0),
    lambda cache: damage(cache, 9),
    lambda cache: damage(cache, 100, 20),
    lambda cache: damage(cache, 128),
    lambda cache: damage(cache, 128 + 40, 8),
    lambda cache: damage(cache, 128 + 64, 8),
    lambda cache: damage(cache, 1 << 20),
    lambda cache: damage(cache, -100, 100),
    lambda cache: cache.write_bytes(bytes(cache.stat().st_size)),
    lambda cache: cache.write_bytes(cache.read_bytes() + b"more"),
])
def test_a_damaged_cache_is_made_again(bertft, large, change):
    first = int8(bertft, large)
    [cache] = caches(large)
    whole = cache.read_bytes()
    change(cache)
    assert int8(bertft, large) == first
    assert cache.read_bytes() == whole


def sum_of(content):
    """What src/base/cache.c sums: whoever forges a cache can do it too."""
    mask, lanes = 2**64 - 1, [1, 2, 3, 4]
    words = array.array("Q", content + bytes(32 - len(content) % 32))
    for i in range(0, len(words), 4):
        for k in range(4):
            mixed = (lanes[k] ^ words[i + k]) * 0x9E3779B97F4A7C15 & mask
            lanes[k] = mixed ^ mixed >> 32
    total = len(content)
    for lane in lanes:
        total = (total ^ lane) * 0xD6E8FEB86659FD93 & mask
        total ^= total >> 29
    return struct.pack("Q", total)


def test_a_forged_cache_of_nan(bertft, large):
    """Its sums hold, and all of its weights, steps and gains are ones: NaN, and bytes that no rounding makes."""
    int8(bertft, large)
    [cache] = caches(large)
    whole = cache.read_bytes()
    entries = 128 + 64 * -(-(48 + 6 * 24) // 64)  # head, name, form, count and six matrices
    forged = whole[:entries] + b"\xff" * (len(whole) - entries)
    head = forged[:112] + sum_of(forged[128:])
    assert sum_of(whole[:120]) == whole[120:128] and sum_of(whole[128:]) == whole[112:120]
    cache.write_bytes(head + sum_of(head) + forged[128:])
    message = bertft.fails(1, "predict", "-m", large, "--device", "cpu", "--precision", "int8", input=TEXTS)
    assert message == "the model's answers hold a value that is not a finite number"


def test_the_cache_of_another_form_is_none(bertft, large):
    first = int8(bertft, large)
    [cache] = caches(large)
    scores(bertft, large, "--device", "cpu", "--precision", "bf16")
    other = next(path for path in caches(large) if path != cache)
    shutil.copyfile(other, cache)
    assert int8(bertft, large) == first


def test_a_folder_that_cannot_be_written_to(bertft, large, tmp_path):
    """Root writes anywhere, so what stands in the way is a folder in the cache's place."""
    first = int8(bertft, large)
    [cache] = caches(large)
    cache.unlink()
    (cache / "in the way").mkdir(parents=True)
    home = {"XDG_CACHE_HOME": str(tmp_path / "home")}
    assert int8(bertft, large, env=home) == first
    [there] = caches(tmp_path / "home" / "bertft")
    before = there.stat().st_ino
    assert int8(bertft, large, env=home) == first and there.stat().st_ino == before
    nowhere = {"XDG_CACHE_HOME": "/proc/none"}
    assert int8(bertft, large, env=nowhere) == first
