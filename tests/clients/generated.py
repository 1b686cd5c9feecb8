"""Calls /ner, /ner/batch and /info with a client that openapi-python-client generates from openapi/openapi.json."""

import os
import pathlib
import subprocess
import sys
import tempfile

CONTRACT = pathlib.Path(__file__).resolve().parents[2] / "openapi" / "openapi.json"

with tempfile.TemporaryDirectory() as folder:
    config = pathlib.Path(folder, "config.yml")
    # `post_hooks` would format the generated code, which is not needed here.
    config.write_text("package_name_override: nerve_client\nproject_name_override: nerve-client\npost_hooks: []\n")
    tool = pathlib.Path(sys.executable).with_name("openapi-python-client")
    made = pathlib.Path(folder, "made")
    command = [tool, "generate", "--path", CONTRACT, "--config", config, "--output-path", made]
    subprocess.run(command, check=True)
    sys.path.insert(0, str(made))

    from nerve_client import Client
    from nerve_client.api.operations import info
    from nerve_client.api.tagging import ner, ner_batch
    from nerve_client.models import BatchRequest, ErrorBody, Item, NerRequest, OffsetsOption

    client = Client(base_url=os.environ["NERVE_URL"])

    described = info.sync(client=client)
    print("info:", described.to_dict())

    text = "😀 Barack Obama met Beyoncé"
    answer = ner.sync(client=client, body=NerRequest(text=text, offsets=OffsetsOption.CODEPOINT))
    print("ner:", answer.to_dict())
    assert any(entity.type_ == "person" for entity in answer.entities)
    assert all(text[entity.start : entity.end] == entity.text for entity in answer.entities)

    body = BatchRequest(items=[Item(text=text), Item(words=["in", "New", "York"]), Item()], include_words=False)
    answer = ner_batch.sync(client=client, body=body)
    print("ner_batch:", answer.to_dict())
    assert len(answer.results) == 3
    assert answer.results[2].to_dict()["error"]["code"] == "invalid_request"

    refused = ner.sync(client=client, body=NerRequest(text="x", labels=["planet"]))
    print("a refusal:", refused.to_dict())
    assert isinstance(refused, ErrorBody) and "person" in refused.error.message
