"""Calls the Open Inference Protocol v2 with Python's standard library."""

import json
import os
import urllib.error
import urllib.request

URL = os.environ["NERVE_URL"]


def call(path, body=None):
    """Sends a request. Prints and returns the status and the JSON body of the response."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data=data, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    print("POST" if data else "GET", path, body or "", "->", status, text.decode()[:400])
    return status, json.loads(text)


assert call("/v2/health/live") == (200, {"live": True})
assert call("/v2/health/ready") == (200, {"ready": True})
status, server = call("/v2")
assert status == 200 and server["extensions"] == ["binary_tensor_data"]
_, info = call("/info")
model, version = info["model"]["name"], info["model"]["version"]
status, metadata = call(f"/v2/models/{model}/versions/{version}")
assert status == 200 and metadata["versions"] == [version]
assert call(f"/v2/models/{model}/ready") == (200, {"name": model, "ready": True})

tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["Barack Obama met Beyoncé", "in New York"]}
status, answer = call(f"/v2/models/{model}/infer", {"id": "7", "inputs": [tensor], "outputs": [{"name": "entities"}]})
assert (status, answer["id"], answer["model_version"]) == (200, "7", version)
(entities,) = answer["outputs"]
assert (entities["name"], entities["datatype"], entities["shape"]) == ("entities", "BYTES", [2])
found = [json.loads(element) for element in entities["data"]]
assert any(entity["type"] == "person" for entity in found[0]), found

for expected, path, body in [
    (404, "/v2/models/other/infer", {"inputs": [tensor]}),
    (400, f"/v2/models/{model}/infer", {"inputs": []}),
    (400, f"/v2/models/{model}/infer", {"inputs": [{**tensor, "datatype": "FP32"}]}),
    (400, f"/v2/models/{model}/infer", {"inputs": [{**tensor, "shape": [3]}]}),
]:
    status, answer = call(path, body)
    assert status == expected and list(answer) == ["error"], (status, answer)
