"""A tagger on ONNX Runtime in Python: from texts to words and entities."""

import json
import os
import pathlib

import numpy
import onnxruntime
from tokenizers import Tokenizer

MAX_LENGTH = 512


class Tagger:
    """The tokenizer, labels and session of a model. A run uses `threads` threads; 0 means one per core."""

    def __init__(self, directory, graph, threads):
        directory = pathlib.Path(directory)
        names = json.loads((directory / "config.json").read_text())["id2label"]
        self.labels = [names[str(number)] for number in range(len(names))]
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_LENGTH)
        self.tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.inputs = {node.name for node in self.session.get_inputs()}

    @classmethod
    def from_environment(cls):
        """The tagger that the environment variables set by `bench/serving/servers.py` describe."""
        return cls(os.environ["PEER_MODEL"], os.environ["PEER_GRAPH"], int(os.environ["PEER_THREADS"]))

    def tag(self, texts):
        """The response for each text. The texts run as one batch, padded to the longest."""
        encodings = [self.tokenizer.encode(text) for text in texts]
        shape = len(encodings), max(len(encoding.ids) for encoding in encodings)
        feeds = {name: numpy.zeros(shape, numpy.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
        for row, encoding in enumerate(encodings):
            feeds["input_ids"][row, : len(encoding.ids)] = encoding.ids
            feeds["attention_mask"][row, : len(encoding.ids)] = 1
        logits = self.session.run(None, {name: feed for name, feed in feeds.items() if name in self.inputs})[0]
        return [self._answer(*each) for each in zip(texts, encodings, logits)]

    def _answer(self, text, encoding, logits):
        shifted = numpy.exp(logits - logits.max(-1, keepdims=True))
        probabilities = shifted / shifted.sum(-1, keepdims=True)
        best = probabilities.argmax(-1)
        words = []
        for place, word in enumerate(encoding.word_ids):
            if word is None:
                continue
            start, end = encoding.offsets[place]
            if word == len(words):
                # A word has the label of its first token.
                label = self.labels[best[place]]
                score = float(probabilities[place, best[place]])
                words.append({"text": text[start:end], "start": start, "end": end, "label": label, "score": score})
            else:
                words[-1].update(text=text[words[-1]["start"] : end], end=end)
        return {"entities": entities(text, words), "words": words}


def entities(text, words):
    """The entities that IOB2 labels of words form. An orphan I-X starts an entity."""
    found, kind = [], None
    for number, word in enumerate(words):
        prefix, _, of = word["label"].partition("-")
        if prefix == "I" and of == kind:
            found[-1]["end"] = word["end"]
            found[-1]["words"][1] = number + 1
            found[-1]["scores"].append(word["score"])
        elif prefix in "BI":
            found.append({"type": of, "start": word["start"], "end": word["end"], "words": [number, number + 1], "scores": [word["score"]]})
        kind = of or None
    for entity in found:
        scores = entity.pop("scores")
        entity.update(text=text[entity["start"] : entity["end"]], score=sum(scores) / len(scores))
    return found
