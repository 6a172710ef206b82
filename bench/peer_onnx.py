#!/usr/bin/env python3
"""peer_onnx.py: ONNX Runtime's side of the inference rows: a worker that answers one JSON line for each on its stdin.

    bench/peer_onnx.py FOLDER TEXTS.tsv SENTENCE.tsv THREADS

FOLDER is a model of Hugging Face's kind. Beside it the worker keeps what it makes: the graph that torch.onnx exports, the
same fused by ONNX Runtime's optimizer for BERT, and int8 by dynamic quantization per channel, its weights with 8 bits and
with 7 (processors without VNNI saturate in between; 7 bits are the remedy). Batches of 32 are sorted by length.

    {"model": M}                  one pass over all texts: {"tokens": N, "seconds": s}
    {"model": M, "latency": N}    the one sentence, N times: {"seconds": [...]}
    {"model": M, "logits": true}  of the first text: {"logits": [...]}

M is fp32, int8 or int8-7bit.
"""
import json
import pathlib
import sys
import time

import numpy
import onnx
import onnxruntime
import torch
import transformers
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer
from transformers import AutoModelForSequenceClassification

from worker import read_ids, serve

BATCH = 32
ROWS = 100000  # of a table, at most: a graph has 2 GB at most, and no text of the benchmark has a word behind them
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


# ---- The three models ----

class Classifier(torch.nn.Module):
    """Three tensors in, logits out: what the exporter wants."""

    def __init__(self, folder):
        super().__init__()
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
        words = self.model.bert.embeddings.word_embeddings
        words.weight = torch.nn.Parameter(words.weight[:ROWS].clone())

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


def export(folder, path):
    model = Classifier(folder)
    sample = torch.ones(2, 8, dtype=torch.long)
    axes = {name: {0: "batch", 1: "length"} for name in INPUTS}
    torch.onnx.export(model, (sample, sample, torch.zeros_like(sample)), path, input_names=INPUTS, output_names=["logits"],
                      dynamic_axes={**axes, "logits": {0: "batch"}}, opset_version=17, dynamo=False)
    return model.model.config


def make(folder):
    """The files of the models, made once."""
    paths = {name: folder.parent / f"{name}.onnx" for name in ("fp32", "int8", "int8-7bit")}
    ready = folder.parent / "onnx-ready-1"
    if not ready.exists():
        plain = folder.parent / "plain.onnx"
        config = export(folder, plain)
        fused = optimizer.optimize_model(str(plain), model_type="bert", num_heads=config.num_attention_heads,
                                         hidden_size=config.hidden_size)
        fused.save_model_to_file(str(paths["fp32"]))
        (folder.parent / "fused.json").write_text(json.dumps(fused.get_fused_operator_statistics(), indent=1))
        for name in ("int8", "int8-7bit"):
            quantize_dynamic(paths["fp32"], paths[name], per_channel=True, weight_type=QuantType.QInt8,
                             reduce_range=name == "int8-7bit",
                             extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})  # fused nodes have no shapes
        plain.unlink()
        ready.touch()
    return paths


# ---- The worker ----

def pad(ids):
    tensors = {name: numpy.zeros((len(ids), max(map(len, ids))), dtype=numpy.int64) for name in INPUTS}
    for i, row in enumerate(ids):
        tensors["input_ids"][i, :len(row)] = row
        tensors["attention_mask"][i, :len(row)] = 1
    return tensors


class Worker:
    def __init__(self, folder, texts, sentence, threads):
        self.ids = read_ids(folder, texts)
        self.sentence = pad(read_ids(folder, sentence))
        by_length = sorted(self.ids, key=len)
        self.batches = [pad(by_length[i:i + BATCH]) for i in range(0, len(by_length), BATCH)]
        self.paths = make(folder)
        self.threads = threads
        self.sessions = {}

    def session(self, name):
        if name not in self.sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
            self.sessions[name] = onnxruntime.InferenceSession(str(self.paths[name]), options, ["CPUExecutionProvider"])
        return self.sessions[name]

    def run(self, session, batch):
        since = time.perf_counter()
        logits = session.run(["logits"], batch)[0]
        return time.perf_counter() - since, logits

    def answer(self, request):
        session = self.session(request["model"])
        if "latency" in request:
            return {"seconds": [self.run(session, self.sentence)[0] for _ in range(request["latency"])]}
        if "logits" in request:
            return {"logits": self.run(session, pad(self.ids[:1]))[1][0].tolist()}
        seconds = sum(self.run(session, batch)[0] for batch in self.batches)
        return {"tokens": sum(map(len, self.ids)), "seconds": seconds}


def main():
    if len(sys.argv) != 5:
        sys.exit("usage: peer_onnx.py FOLDER TEXTS.tsv SENTENCE.tsv THREADS")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(int(sys.argv[4]))
    serve(lambda: Worker(*map(pathlib.Path, sys.argv[1:4]), int(sys.argv[4])).answer)


if __name__ == "__main__":
    main()
