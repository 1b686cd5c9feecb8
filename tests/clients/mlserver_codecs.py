"""Calls /v2 with requests that MLServer's codecs encode, and decodes the answers with them."""

import json
import os
import urllib.request

from mlserver.codecs import StringCodec, StringRequestCodec
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, RequestOutput

URL = os.environ["NERVE_URL"]
TEXTS = ["Empire State Building is where Barack Obama met Beyoncé", "😀 in New York City"]

with urllib.request.urlopen(URL + "/info") as answer:
    model = json.load(answer)["model"]["name"]


def infer(request):
    """Sends a request as MLServer's clients do. Returns the answer, and prints both."""
    body = request.model_dump_json(exclude_none=True)
    print("sent:    ", body)
    headers = {"content-type": "application/json"}
    sent = urllib.request.Request(f"{URL}/v2/models/{model}/infer", data=body.encode(), headers=headers)
    with urllib.request.urlopen(sent) as answer:
        text = answer.read().decode()
    print("received:", text[:300])
    return InferenceResponse.model_validate_json(text)


def entities(response):
    """The entities of each text."""
    output = next(output for output in response.outputs if output.name == "entities")
    found = [json.loads(element) for element in StringCodec.decode_output(output)]
    assert len(found) == len(TEXTS) and any(entity["type"] == "person" for entity in found[0]), found
    return found


tensor = StringCodec.encode_input("text", TEXTS)
tensor.parameters = Parameters(content_type=StringCodec.ContentType)
codec = InferenceRequest(
    id="r-1",
    inputs=[tensor],
    outputs=[RequestOutput(name="entities", parameters=Parameters(content_type=StringCodec.ContentType))],
    parameters=Parameters(content_type=StringRequestCodec.ContentType, headers={"x-trace": "1"}),
)
expected = entities(infer(codec))

# The codec of whole requests names the input as it likes.
whole = StringRequestCodec.encode_request(TEXTS)
whole.inputs[0].name = "text"
assert entities(infer(whole)) == expected

flat = StringCodec.encode_input("text", TEXTS, use_bytes=False)
assert entities(infer(InferenceRequest(inputs=[flat]))) == expected
