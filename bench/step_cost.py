#!/usr/bin/env python3
"""step_cost.py: what a training step costs, against its real tokens and against the vocabulary: a plot, and its figures.

    bench/step_cost.py --build BUILD [--plot docs/step-cost.svg] [--threads 2]

rubert-tiny2's shape with tables of 30 thousand to 500 thousand rows, random weights, and the same texts for all of them. Each point is
`bertft train` itself, by its own metrics.jsonl: the median of windows of ten steps after a first that warms up. The vocabularies take
turns. Whatever cost a pass over the table would make the lines part; a cost of padding would bend them.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import sys

import matplotlib
import matplotlib.pyplot

import material
import sides

VOCABULARIES = [30_000, 83_828, 167_000, 334_000, 501_153]
BATCHES = [8, 16, 32, 64, 128]
TEXTS, WINDOWS, WINDOW = 4096, 4, 10


def prepare(folder):
    """Models and texts. The words of the texts are those of the smallest vocabulary, which begins every other one."""
    models = {}
    for vocabulary in VOCABULARIES:
        shape = (*material.SHAPES["rubert-tiny2"][:4], vocabulary, 512)
        models[vocabulary] = folder / str(vocabulary)
        if not (models[vocabulary] / "model.safetensors").exists():
            material.write_model(models[vocabulary], shape, 1)
    texts = folder / "texts.tsv"
    material.write_texts(texts, (0, 0, 0, 0, VOCABULARIES[0], 0), TEXTS, 1)
    return models, texts


def seconds_a_step(program, model, texts, batch, run, threads):
    """Seconds of a step and its tokens: medians over the windows."""
    pairs = {"MODEL.WEIGHTS": model, "DATA.TRAIN": texts, "DATA.VALID_FRACTION": 0, "TRAIN.BATCH_SIZE": batch,
             "TRAIN.MAX_STEPS": WINDOW * (WINDOWS + 1), "TRAIN.LOG_EVERY": WINDOW, "TRAIN.EVAL_EVERY": sides.NEVER,
             "TRAIN.SAVE_EVERY": sides.NEVER, "OUTPUT_DIR": run, "DEVICE.NAME": "cpu", "DEVICE.THREADS": threads}
    settings = run.parent / "settings.yaml"
    settings.write_text("")
    sides.run_once([program, "train", settings, "--overwrite", *(word for pair in pairs.items() for word in pair)], b"")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][1:WINDOWS + 1]
    shutil.rmtree(run)
    return (statistics.median(batch / line["samples_per_second"] for line in lines),
            statistics.median(batch * line["tokens_per_second"] / line["samples_per_second"] for line in lines))


def line_through(points):
    """Least squares: (seconds of an empty step, seconds a token)."""
    mean_x, mean_y = statistics.mean(x for x, _ in points), statistics.mean(y for _, y in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return mean_y - slope * mean_x, slope


def draw(path, found):
    matplotlib.rcParams["svg.hashsalt"] = "bertft"  # the same figures, the same file
    figure, axes = matplotlib.pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for vocabulary, points in found.items():
        axes.plot([x for x, _ in points], [1000 * y for _, y in points], "o-", markersize=4, linewidth=1, label=f"{vocabulary:,} words")
    axes.set(xlabel="real tokens in a step", ylabel="milliseconds a step", xlim=(0, None), ylim=(0, None),
             title="A training step of rubert-tiny2's shape")
    axes.legend(title="vocabulary", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--plot", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    folder = options.build.resolve() / "bench/step-cost"
    folder.mkdir(parents=True, exist_ok=True)
    models, texts = prepare(folder)
    found = {vocabulary: [] for vocabulary in VOCABULARIES}
    for batch in BATCHES:
        for vocabulary in VOCABULARIES:
            seconds, tokens = seconds_a_step(options.build.resolve() / "bertft", models[vocabulary], texts, batch, folder / "run",
                                             options.threads)
            found[vocabulary].append((tokens, seconds))
            print(f"{vocabulary} words, {batch} texts: {1000 * seconds:.2f} ms, {tokens:.0f} tokens", file=sys.stderr, flush=True)
    print("| words | " + " | ".join(f"{batch} texts, ms" for batch in BATCHES) + " | µs a token | ms for none |")
    print("|---|" + "---|" * (len(BATCHES) + 2))
    for vocabulary, points in found.items():
        start, slope = line_through(points)
        print(f"| {vocabulary:,} | " + " | ".join(f"{1000 * y:.2f}" for _, y in points) + f" | {1e6 * slope:.1f} | {1000 * start:.2f} |")
    if options.plot:
        draw(options.plot, found)


if __name__ == "__main__":
    main()
