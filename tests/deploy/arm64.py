"""Serves the default model with a nerve-server for Linux arm64 on an emulated processor: `make arm64-test`.

Its answers must equal those of this machine's nerve-server, but for the last digits of scores, which ONNX Runtime computes.
"""

import json
import pathlib
import sys
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))
from served import served  # noqa: E402

# The library is found as after `make serve`: in the nearest .onnxruntime/ above the executable.
SERVER = REPOSITORY / "target" / "aarch64" / "aarch64-unknown-linux-gnu" / "release" / "nerve-server"
EMULATED = ("env", "--unset=ORT_DYLIB_PATH", "qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu", SERVER)
TEXTS = [
    "Empire State Building is where Barack Obama met Beyoncé",
    "Microsoft and Apple both opened a shop in Paris , says Tim Cook",
    "nothing to see here",
    "Real Madrid plays in Munich on Tuesday night and half of Spain is already on its way there",
]
SCORE_DIGITS = 4


def fetch(url, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def ask(*command):
    """The kernels of a server, and the entities that it finds in each text."""
    options = {"command": command} if command else {}
    with served("--workers", "1", **options) as server:
        kernels = fetch(f"{server.url}/info")["kernels"]
        answers = [fetch(f"{server.url}/ner", {"text": text})["entities"] for text in TEXTS]
    return kernels, answers


def rounded(answers):
    return [[{**entity, "score": round(entity["score"], SCORE_DIGITS)} for entity in entities] for entities in answers]


def main():
    kernels, expected = ask()
    emulated_kernels, answers = ask(*EMULATED)
    print(f"this machine: kernels {kernels}\nemulated arm64: kernels {emulated_kernels}")
    for text, entities in zip(TEXTS, answers):
        print(f"  {text!r}: {', '.join(entity['type'] + ' ' + entity['text'] for entity in entities) or 'none'}")
    assert sum(map(len, answers)) > 0, "no entity was found"
    assert rounded(answers) == rounded(expected), f"arm64 answers {answers}, this machine {expected}"
    same = "equal bit for bit" if answers == expected else f"equal to {SCORE_DIGITS} digits of the scores"
    print(f"{sum(map(len, answers))} entities: {same}")


if __name__ == "__main__":
    main()
