"""What is sent: the texts of a corpus, one a request or many."""

import dataclasses
import json
import pathlib

TEXTS_A_CALL = 1000


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
    """Files of request bodies, one a line."""

    singles: pathlib.Path
    batches: pathlib.Path


def write_bodies(texts, directory):
    """The bodies of `/ner`, a text each, and of `/ner/batch`: the first 1,000 texts, and the 1,000 that follow them in the cycle."""
    cycled = texts * (2 * TEXTS_A_CALL // len(texts) + 1)
    calls = [cycled[at : at + TEXTS_A_CALL] for at in (0, TEXTS_A_CALL)]
    bodies = Bodies(directory / "singles.jsonl", directory / "batches.jsonl")
    write_lines(bodies.singles, ({"text": text} for text in texts))
    write_lines(bodies.batches, ({"items": [{"text": text} for text in call]} for call in calls))
    return bodies


def write_lines(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
