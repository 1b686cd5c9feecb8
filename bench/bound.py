"""Measures a model without HTTP, tokenization or decoding. Prints texts per second as JSON.

Each batch has texts of similar length, padded to the longest. Each session has one thread and takes the next batch when it has
finished one. A graph that selects tokens computes the first subword of each word. The sessions run in threads of one process, or
those of ONNX Runtime in processes (`--processes`).

    python bench/bound.py --graph model.onnx --tokenizer tokenizer.json --texts FILE.conll --batch 8

`--engine nerve` runs the bundle that contains the graph with Nerve's kernels, on the instruction set that NERVE_INSTRUCTION_SET names.
"""

import argparse
import functools
import json
import math
import multiprocessing
import os
import pathlib
import subprocess
import threading
import time

import numpy
import onnxruntime
from tokenizers import Tokenizer

from serving.texts import corpus

ROOT = pathlib.Path(__file__).resolve().parents[1]
MAX_LENGTH = 512


def tokenized(options):
    """The texts of each batch, longest texts first, so that the sessions finish a pass at about the same time."""
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.no_padding()
    texts = sorted((tokenizer.encode(text) for text in corpus(options.texts)), key=len, reverse=True)
    return [texts[at : at + options.batch] for at in range(0, len(texts), options.batch)]


def padded(texts):
    """The inputs of a graph for the texts of a batch."""
    shape = len(texts), max(map(len, texts))
    feeds = {name: numpy.zeros(shape, numpy.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    selected = []
    for row, text in enumerate(texts):
        feeds["input_ids"][row, : len(text)] = text.ids
        feeds["attention_mask"][row, : len(text)] = 1
        selected += [row * shape[1] + position for position in first_subwords(text)]
    feeds["logits_indices"] = numpy.array(selected, numpy.int64)
    return feeds


def first_subwords(text):
    """The position of the first subword of each word."""
    words = text.word_ids
    return [at for at, word in enumerate(words) if word is not None and (at == 0 or words[at - 1] != word)]


class OnnxRuntime:
    """A session of ONNX Runtime with one thread."""

    def __init__(self, graph):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_mem_pattern = False
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.names = {node.name for node in self.session.get_inputs()}

    def run(self, feeds):
        self.session.run(None, feeds)

    def warm_up(self, feeds):
        for feed in feeds[:: max(1, len(feeds) // 16)]:
            self.run(feed)


def openvino_model(options):
    """The graph in OpenVINO with one stream of one thread for each session."""
    import openvino

    settings = {
        "NUM_STREAMS": options.sessions,
        "INFERENCE_NUM_THREADS": options.sessions,
        "INFERENCE_PRECISION_HINT": options.openvino_precision,
    }
    return openvino.Core().compile_model(options.graph, "CPU", settings)


class OpenVino:
    """One of the concurrent inference requests of a model."""

    def __init__(self, model):
        self.request = model.create_infer_request()
        self.names = {name for port in model.inputs for name in port.names}

    def run(self, feeds):
        self.request.infer(feeds)

    def warm_up(self, feeds):
        # OpenVINO prepares and keeps its primitives for each shape.
        for feed in feeds:
            self.run(feed)


class Passes:
    """Passes over the batches, shared by all sessions. The last pass is the first one that finishes after `end`."""

    def __init__(self, batches):
        self.batches = batches
        self.taken = multiprocessing.Value("q", 0)
        self.end = multiprocessing.Value("d", math.inf)
        self.over = multiprocessing.Value("b", False)

    def take(self):
        with self.taken.get_lock():
            number = self.taken.value % self.batches
            if number == 0 and self.taken.value and time.monotonic() >= self.end.value:
                self.over.value = True
            if self.over.value:
                return None
            self.taken.value += 1
            return number


def work(opened, feeds, passes, barrier):
    try:
        running = opened()
        feeds = [{name: array for name, array in feed.items() if name in running.names} for feed in feeds]
        running.warm_up(feeds)
    except Exception:
        # The other sessions wait at the barrier, and aborting it stops them.
        barrier.abort()
        raise
    barrier.wait()
    while (number := passes.take()) is not None:
        running.run(feeds[number])


def texts_per_second(options, batches):
    """The throughput of ONNX Runtime or OpenVINO."""
    if options.engine == "openvino":
        model = openvino_model(options)
        opened = functools.partial(OpenVino, model)
    else:
        opened = functools.partial(OnnxRuntime, options.graph)
    feeds = [padded(texts) for texts in batches]
    passes = Passes(len(feeds))
    kind = multiprocessing.Process if options.processes else threading.Thread
    barrier = (multiprocessing if options.processes else threading).Barrier(options.sessions + 1)
    workers = [kind(target=work, args=(opened, feeds, passes, barrier)) for _ in range(options.sessions)]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.monotonic()
    passes.end.value = began + options.seconds
    for worker in workers:
        worker.join()
    texts = passes.taken.value // len(feeds) * sum(map(len, batches))
    return {"texts_per_second": texts / (time.monotonic() - began)}


def nerve(options, batches):
    """The throughput of Nerve's kernels on the same batches, from crates/inference/benches/raw.rs."""
    lines = [json.dumps([{"ids": text.ids, "selected": first_subwords(text)} for text in texts]) for texts in batches]
    command = [
        "cargo", "bench", "--quiet", "--locked", "--workspace", "--bench", "raw", "--",
        options.graph.parent.resolve(), "nerve", str(options.sessions), str(options.seconds),
    ]  # fmt: skip
    library = {"ORT_DYLIB_PATH": os.environ.get("ORT_DYLIB_PATH", str(ROOT / ".onnxruntime/libonnxruntime.so"))}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | library, input="\n".join(lines), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    parser.add_argument("--texts", type=pathlib.Path, required=True)
    parser.add_argument("--engine", choices=["onnxruntime", "nerve", "openvino"], default="onnxruntime")
    parser.add_argument("--openvino-precision", default="f32", help="INFERENCE_PRECISION_HINT of OpenVINO: f32 or bf16")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sessions", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--processes", action="store_true")
    options = parser.parse_args()
    measure = nerve if options.engine == "nerve" else texts_per_second
    print(json.dumps(measure(options, tokenized(options))))


if __name__ == "__main__":
    main()
