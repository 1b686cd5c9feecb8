"""What is sent: the texts of a corpus, one a request or many."""

import json

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


def write_bodies(texts, path):
    """A file of request bodies, one text each."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def write_batches(texts, path):
    """A file of one `/ner/batch` body of 1,000 texts, and one of the 1,000 that follow them in the cycle."""
    cycled = texts * (2 * TEXTS_A_CALL // len(texts) + 1)
    calls = [cycled[at : at + TEXTS_A_CALL] for at in (0, TEXTS_A_CALL)]
    path.write_text("".join(json.dumps({"items": [{"text": text} for text in call]}) + "\n" for call in calls))
