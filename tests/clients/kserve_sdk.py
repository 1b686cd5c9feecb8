"""Calls /v2 and gRPC with KServe's SDK: InferenceRESTClient and InferenceGRPCClient."""

import asyncio
import json
import os

import grpc
import httpx
import numpy
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

URL, GRPC = os.environ["NERVE_URL"], os.environ["NERVE_GRPC"]
TEXTS = ["Empire State Building is where Barack Obama met Beyoncé", "😀 in New York City"]


def request(model, *, binary, outputs=None, parameters=None):
    """A request whose texts are in the tensor's contents, or raw."""
    array = numpy.array([text.encode() for text in TEXTS], dtype=numpy.object_)
    text = InferInput("text", [len(TEXTS)], "BYTES", parameters={"content_type": "str"})
    text.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model, [text], request_id="r-1", parameters=parameters, request_outputs=outputs)


def entities(answer):
    """The entities of each text."""
    output = next(output for output in answer.outputs if output.name == "entities")
    found = [json.loads(element) for element in output.as_numpy()]
    for text, one in zip(TEXTS, found):
        assert all(text[entity["start"] : entity["end"]] == entity["text"] for entity in one), found
    assert any(entity["type"] == "person" for entity in found[0]), found
    return found


async def main():
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await rest.is_server_live(URL) and await rest.is_server_ready(URL)
    async with httpx.AsyncClient() as http:
        model = (await http.get(URL + "/info")).json()["model"]["name"]
    assert await rest.is_model_ready(URL, model)

    expected = None
    for binary in (False, True):
        for binary_outputs in (False, True):
            outputs = [RequestedOutput("entities", parameters={"binary_data": binary_outputs})]
            asked = request(model, binary=binary, outputs=outputs, parameters={"priority": 1, "sequence_id": 7})
            sent, _ = asked.to_rest()
            answer = await rest.infer(URL, asked, model_name=model)
            print(f"REST infer(binary={binary}, outputs binary={binary_outputs})")
            print("    sent:    ", sent if not isinstance(sent, bytes) else sent[:400])
            print("    received:", answer.model_name, answer.id, entities(answer)[0])
            assert answer.model_name == model and answer.id == "r-1"
            expected = expected or entities(answer)
            assert entities(answer) == expected
    try:
        await rest.infer(URL, request(model, binary=False, parameters={"offsets": "utf8"}), model_name=model)
    except httpx.HTTPStatusError as error:
        print("REST, a bad parameter:", error)
        assert error.response.status_code == 400 and "utf16" in str(error)
    else:
        raise SystemExit("a bad parameter was not refused")

    client = InferenceGRPCClient(GRPC)
    assert await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready(model)
    for binary in (False, True):
        asked = request(model, binary=binary, parameters={"threshold": "0.1", "constrained": True})
        answer = await client.infer(asked, headers=[("x-request-id", "call-1")], timeout=20)
        print(f"gRPC infer(binary={binary})")
        print("    sent:    ", str(asked.to_grpc()).replace("\n", " ")[:400])
        print("    received:", answer.model_name, answer.id, entities(answer)[0])
        assert entities(answer) == expected
    try:
        await client.infer(request("other", binary=True))
    except grpc.RpcError as error:
        print("gRPC, an unknown model:", error.code(), error.details())
        assert error.code() == grpc.StatusCode.NOT_FOUND
    else:
        raise SystemExit("an unknown model was not refused")


asyncio.run(main())
