"""Calls gRPC with tritonclient[grpc]: health, metadata, inference, compression and streams, and its health with grpc_health."""

import json
import os
import queue

import grpc
import numpy
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.utils import InferenceServerException

GRPC = os.environ["NERVE_GRPC"]
TEXTS = ["Empire State Building is where Barack Obama met Beyoncé", "nothing here", "😀 in New York City"]

client = triton.InferenceServerClient(GRPC)
assert client.is_server_live() and client.is_server_ready()
print("server metadata:", str(client.get_server_metadata()).replace("\n", " "))
import urllib.request  # noqa: E402

with urllib.request.urlopen(os.environ["NERVE_URL"] + "/info") as answer:
    info = json.load(answer)["model"]
model, version = info["name"], info["version"]
assert client.is_model_ready(model) and client.is_model_ready(model, version)
print("model metadata:", str(client.get_model_metadata(model)).replace("\n", " "))


def text_input(texts, shape=None):
    array = numpy.array([text.encode() for text in texts], dtype=numpy.object_).reshape(shape or [len(texts)])
    text = triton.InferInput("text", list(array.shape), "BYTES")
    text.set_data_from_numpy(array)
    return text


def infer(texts=TEXTS, *, shape=None, **more):
    outputs = [triton.InferRequestedOutput(name) for name in ("entities", "words")]
    return client.infer(model, [text_input(texts, shape)], outputs=outputs, request_id="r-1", **more)


def entities(answer):
    return [json.loads(element) for element in answer.as_numpy("entities")]


answer = infer()
assert answer.get_response().id == "r-1" and answer.as_numpy("entities").shape == (3,)
expected = entities(answer)
for text, found in zip(TEXTS, expected):
    print("   ", repr(text), "->", [(one["type"], one["text"], one["start"], one["end"]) for one in found])
    assert all(text[one["start"] : one["end"]] == one["text"] for one in found)
assert any(one["type"] == "person" for one in expected[0])

for more in [
    {"compression_algorithm": "gzip"},
    {"priority": 1, "timeout": 10_000_000, "sequence_id": 7, "sequence_start": True},
    {"client_timeout": 20, "headers": {"x-request-id": "call-1"}},
    {"parameters": {"threshold": 0.0, "offsets": "codepoint", "constrained": True}},
    {"model_version": version, "shape": [3, 1]},
]:
    assert entities(infer(**more)) == expected, more
    print("infer with", more, "-> the same answer")

answers = queue.Queue()
client.start_stream(callback=lambda result, error: answers.put((result, error)), compression_algorithm="gzip")
for number in range(40):
    text = text_input(["a" * 3_000_000 if number == 7 else TEXTS[0]])
    client.async_stream_infer(model, [text], request_id=str(number), enable_empty_final_response=True)
for number in range(40):
    result, error = answers.get(timeout=60)
    if number == 7:
        print("stream, request 7:", error)
        assert "text 0 of `text`" in str(error)
        continue
    assert error is None, error
    response = result.get_response()
    assert response.id == str(number) and response.parameters["triton_final_response"].bool_param
    assert entities(result)[0] == expected[0]
client.stop_stream()
print("stream: 40 answers in order")

for problem, call in {
    "unknown model": lambda: client.infer("other", [text_input(TEXTS)]),
    "bad parameter": lambda: infer(parameters={"offsets": "utf8"}),
    "classes": lambda: client.infer(
        model, [text_input(TEXTS)], outputs=[triton.InferRequestedOutput("entities", class_count=3)]
    ),
    "too large": lambda: infer(["a" * 3_000_000]),
    "late": lambda: infer(TEXTS * 300, timeout=1),
}.items():
    try:
        call()
    except InferenceServerException as error:
        print(f"{problem}: {error}")
    else:
        raise SystemExit(f"{problem} was not refused")

channel = grpc.insecure_channel(GRPC)
for service in ("", "inference.GRPCInferenceService"):
    status = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service)).status
    print("grpc.health.v1", repr(service), "->", health_pb2.HealthCheckResponse.ServingStatus.Name(status))
    assert status == health_pb2.HealthCheckResponse.SERVING
