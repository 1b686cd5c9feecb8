"""Measures ONNX Runtime with a graph, without HTTP, tokenization or decoding. Prints texts per second as JSON.

Each batch has texts of similar length, padded to the longest. Each session has one thread and takes the next batch when it has
finished one. A graph that selects tokens computes the first subword of each word. The sessions run in threads of this process or
in processes (`--processes`).

    python bench/bound.py --graph model.onnx --tokenizer tokenizer.json --texts FILE.conll --batch 8
"""

import argparse
import json
import math
import multiprocessing
import os
import pathlib
import threading
import time

import numpy
import onnxruntime
from tokenizers import Tokenizer

from serving.texts import corpus

MAX_LENGTH = 512


def batches(options):
    """The inputs of each batch, longest texts first, so that the sessions finish a pass at about the same time."""
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    tokenizer.enable_truncation(MAX_LENGTH)
    tokenizer.no_padding()
    texts = sorted((tokenizer.encode(text) for text in corpus(options.texts)), key=len, reverse=True)
    batches = []
    for at in range(0, len(texts), options.batch):
        rows = texts[at : at + options.batch]
        shape = len(rows), max(map(len, rows))
        feeds = {name: numpy.zeros(shape, numpy.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
        selected = []
        for row, text in enumerate(rows):
            feeds["input_ids"][row, : len(text)] = text.ids
            feeds["attention_mask"][row, : len(text)] = 1
            selected += [row * shape[1] + position for position in first_subwords(text)]
        feeds["logits_indices"] = numpy.array(selected, numpy.int64)
        batches.append(feeds)
    return batches


def first_subwords(text):
    """The position of the first subword of each word."""
    words = text.word_ids
    return [at for at, word in enumerate(words) if word is not None and (at == 0 or words[at - 1] != word)]


def session(graph):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


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


def work(options, feeds, passes, barrier):
    try:
        running = session(options.graph)
    except Exception:
        # The other sessions wait at the barrier, and aborting it stops them.
        barrier.abort()
        raise
    names = {node.name for node in running.get_inputs()}
    feeds = [{name: array for name, array in feed.items() if name in names} for feed in feeds]
    for feed in feeds[:: max(1, len(feeds) // 16)]:
        running.run(None, feed)
    barrier.wait()
    while (number := passes.take()) is not None:
        running.run(None, feeds[number])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    parser.add_argument("--texts", type=pathlib.Path, required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sessions", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--processes", action="store_true")
    options = parser.parse_args()
    feeds = batches(options)
    passes = Passes(len(feeds))
    kind = multiprocessing.Process if options.processes else threading.Thread
    barrier = (multiprocessing if options.processes else threading).Barrier(options.sessions + 1)
    workers = [kind(target=work, args=(options, feeds, passes, barrier)) for _ in range(options.sessions)]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.monotonic()
    passes.end.value = began + options.seconds
    for worker in workers:
        worker.join()
    texts = passes.taken.value // len(feeds) * len(corpus(options.texts))
    print(json.dumps({"texts_per_second": texts / (time.monotonic() - began)}))


if __name__ == "__main__":
    main()
