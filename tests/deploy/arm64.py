"""Serves the default model with a nerve-server for Linux arm64 on an emulated processor: `make arm64-test`.

Its answers must equal those of this machine's nerve-server, but for the last digits of scores, which ONNX Runtime computes.
"""

import contextlib
import json
import os
import pathlib
import sys
import tempfile
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))
from served import served  # noqa: E402

SERVER = REPOSITORY / "target" / "aarch64" / "aarch64-unknown-linux-gnu" / "release" / "nerve-server"
LIBRARIES = pathlib.Path("/usr/aarch64-linux-gnu/lib")
PROCESSOR = "neoverse-n1"
# What Linux shows of that processor. QEMU shows this machine's, at which ONNX Runtime for arm64 crashes when it is loaded.
CPUINFO = """processor\t: {number}
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""
TEXTS = [
    "Empire State Building is where Barack Obama met Beyoncé",
    "Microsoft and Apple both opened a shop in Paris , says Tim Cook",
    "nothing to see here",
    "Real Madrid plays in Munich on Tuesday night and half of Spain is already on its way there",
]
SCORE_DIGITS = 4


@contextlib.contextmanager
def emulated():
    """Yields the command that starts the arm64 server in QEMU."""
    with tempfile.TemporaryDirectory(prefix="nerve-arm64-") as directory:
        root = pathlib.Path(directory)
        (root / "lib").symlink_to(LIBRARIES)
        (root / "proc").mkdir()
        (root / "proc" / "cpuinfo").write_text("".join(CPUINFO.format(number=number) for number in range(os.cpu_count())))
        # The server finds its library as after `make serve`: in the nearest .onnxruntime/ above the executable.
        yield ["env", "--unset=ORT_DYLIB_PATH", "qemu-aarch64-static", "-cpu", PROCESSOR, "-L", root, SERVER]


def fetch(url, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def ask(*command):
    """The kernels of a server, this machine's by default, and the entities that it finds in each text."""
    options = {"command": command} if command else {}
    with served("--workers", "1", **options) as server:
        kernels = fetch(f"{server.url}/info")["model"]["kernels"]
        answers = [fetch(f"{server.url}/ner", {"text": text})["entities"] for text in TEXTS]
    return kernels, answers


def rounded(answers):
    return [[{**entity, "score": round(entity["score"], SCORE_DIGITS)} for entity in entities] for entities in answers]


def main():
    kernels, expected = ask()
    with emulated() as command:
        emulated_kernels, answers = ask(*command)
    print(f"this machine: kernels {kernels}\nemulated arm64: kernels {emulated_kernels}")
    for text, entities in zip(TEXTS, answers):
        print(f"  {text!r}: {', '.join(entity['type'] + ' ' + entity['text'] for entity in entities) or 'none'}")
    assert "neon-dotprod" in str(emulated_kernels), f"the kernels do not use the processor's dot products: {emulated_kernels}"
    assert sum(map(len, answers)) > 0, "no entity was found"
    assert rounded(answers) == rounded(expected), f"arm64 answers {answers}, this machine {expected}"
    same = "equal bit for bit" if answers == expected else f"equal to {SCORE_DIGITS} digits of the scores"
    print(f"{sum(map(len, answers))} entities: {same}")


if __name__ == "__main__":
    main()
