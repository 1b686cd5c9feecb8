"""The request bodies: one text or many texts of a corpus per request."""

import dataclasses
import json
import pathlib

TEXTS_PER_REQUEST = 1000


def corpus(path):
    """The sentences of a CoNLL file, their words joined by spaces."""
    texts, words = [], []
    for line in path.read_text(encoding="utf-8").splitlines() + [""]:
        if line.strip():
            words.append(line.split("\t")[0].split(" ")[0])
        elif words:
            texts.append(" ".join(words))
            words = []
    return texts


@dataclasses.dataclass
class Bodies:
    """The files of request bodies, one per line."""

    singles: pathlib.Path
    batches: pathlib.Path


def write_bodies(texts, directory):
    """Writes the bodies for `/ner`, one text each, and two bodies for `/ner/batch` of 1,000 texts each, cycling through the texts."""
    cycled = texts * (2 * TEXTS_PER_REQUEST // len(texts) + 1)
    calls = [cycled[at : at + TEXTS_PER_REQUEST] for at in (0, TEXTS_PER_REQUEST)]
    bodies = Bodies(directory / "singles.jsonl", directory / "batches.jsonl")
    write_lines(bodies.singles, ({"text": text} for text in texts))
    write_lines(bodies.batches, ({"items": [{"text": text} for text in call]} for call in calls))
    return bodies


def write_lines(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
