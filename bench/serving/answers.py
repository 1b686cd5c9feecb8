"""Comparison of the servers' responses with one another and between measurements."""

import http.client
import json


def ask(server, text):
    """The entities of a text as (type, start, end)."""
    # The peers decode each word independently, so this comparison disables constrained decoding in Nerve.
    body = {"text": text, **({"constrained": False} if server.launch.is_nerve else {})}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/ner", json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status != 200:
        raise SystemExit(f"{server.launch.name} answered {response.status} to {text!r}: {answer[:300]!r}")
    return [(entity["type"], entity["start"], entity["end"]) for entity in json.loads(answer)["entities"]]


def compare(servers, texts):
    """For each server, the number of entities and the number of texts with the same entities as the first server."""
    found = {}
    for server in servers:
        with server.running():
            found[server.launch.name] = [ask(server, text) for text in texts]
    reference = next(iter(found.values()))
    return {
        name: {
            "entities": sum(map(len, answers)),
            "same": sum(one == other for one, other in zip(answers, reference)),
            "of": len(texts),
        }
        for name, answers in found.items()
    }


def changing(runs):
    """The number of texts whose responses with status 200 are not byte-identical in all measurements of a server."""
    seen = {}
    differing = set()
    for run in runs:
        for text, answer in enumerate(run["hashes"]):
            if answer is not None and seen.setdefault(text, answer) != answer:
                differing.add(text)
    # Of differences within a measurement, nerve-load only reports the number.
    return max(len(differing), max((min(run["differing"], len(run["hashes"])) for run in runs), default=0))
