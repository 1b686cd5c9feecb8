"""Calls /v2 with tritonclient[http]: health, metadata, and inference with binary and JSON tensors."""

import json
import os

import numpy
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

TEXTS = ["Empire State Building is where Barack Obama met Beyoncé", "nothing here", "😀 in New York City"]

client = triton.InferenceServerClient(os.environ["NERVE_URL"].removeprefix("http://"))

assert client.is_server_live() and client.is_server_ready()
server = client.get_server_metadata()
print("server metadata:", server)
# tritonclient cannot list models, so /info provides the name and version.
import urllib.request  # noqa: E402

with urllib.request.urlopen(os.environ["NERVE_URL"] + "/info") as answer:
    info = json.load(answer)["model"]
model, version = info["name"], info["version"]
assert client.is_model_ready(model) and client.is_model_ready(model, version)
assert not client.is_model_ready("other") and not client.is_model_ready(model, "0")
metadata = client.get_model_metadata(model)
print("model metadata:", metadata)
assert [tensor["name"] for tensor in metadata["inputs"]] == ["text"]


def infer(texts, *, binary_in, binary_out, shape=None, **more):
    array = numpy.array([text.encode() for text in texts], dtype=numpy.object_).reshape(shape or [len(texts)])
    text = triton.InferInput("text", array.shape, "BYTES")
    text.set_data_from_numpy(array, binary_data=binary_in)
    outputs = None
    if binary_out is not None:
        outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("entities", "words")]
    return client.infer(model, [text], outputs=outputs, request_id="r-1", **more)


expected = None
for binary_in in (True, False):
    for binary_out in (True, False, None):
        answer = infer(TEXTS, binary_in=binary_in, binary_out=binary_out)
        entities = [json.loads(element) for element in answer.as_numpy("entities")]
        words = [json.loads(element) for element in answer.as_numpy("words")]
        assert answer.get_response()["id"] == "r-1"
        assert answer.as_numpy("entities").shape == (3,) and len(words) == 3
        expected = expected or (entities, words)
        assert (entities, words) == expected, "JSON and bytes differ"
        print(f"infer(binary_in={binary_in}, binary_out={binary_out}): {len(answer.as_numpy('entities'))} answers")
for text, found in zip(TEXTS, expected[0]):
    print("   ", repr(text), "->", [(one["type"], one["text"], one["start"], one["end"]) for one in found])
    assert all(text[one["start"] : one["end"]] == one["text"] for one in found)
assert any(one["type"] == "person" for one in expected[0][0])

for algorithm in ("gzip", "deflate"):
    for binary in (True, False):
        # Long enough for the answer to be compressed.
        many = infer(
            TEXTS * 20,
            binary_in=binary,
            binary_out=binary,
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        assert [json.loads(element) for element in many.as_numpy("words")] == expected[1] * 20
    print(f"compressed with {algorithm}: {len(many.as_numpy('words'))} answers")

rows = infer(TEXTS, binary_in=True, binary_out=True, shape=[3, 1], model_version=version)
assert json.loads(rows.as_numpy("entities")[0]) == expected[0][0]
utf16 = infer(TEXTS, binary_in=True, binary_out=True, parameters={"offsets": "utf16", "threshold": 0.1})
print("with parameters:", utf16.as_numpy("entities")[2])

foreign = {"priority": 1, "timeout": 10_000_000, "sequence_id": 7, "sequence_start": True, "sequence_end": True}
for binary in (True, False):
    answer = infer(TEXTS, binary_in=binary, binary_out=binary, **foreign)
    assert [json.loads(element) for element in answer.as_numpy("entities")] == expected[0]
print("infer with", foreign, "-> the same answer")

for problem, call in {
    "unknown model": lambda: client.infer("other", []),
    "bad parameter": lambda: infer(TEXTS, binary_in=True, binary_out=True, parameters={"offsets": "utf8"}),
    "too large": lambda: infer(["a" * 3_000_000], binary_in=True, binary_out=True),
}.items():
    try:
        call()
    except InferenceServerException as error:
        print(f"{problem}: {error}")
    else:
        raise SystemExit(f"{problem} was not refused")
