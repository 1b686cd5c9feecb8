"""Whether the servers answer alike, and each always the same."""

import http.client
import json


def ask(server, text):
    """The entities of a text as (type, start, end)."""
    # The peers label each word by itself, and so does Nerve for this comparison.
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
    """For each server, how many entities it finds and in how many texts they are those of the first one."""
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
    """In how many texts a server's answers, of status 200, were not byte for byte the same in all these runs."""
    seen = {}
    differing = set()
    for run in runs:
        for text, answer in enumerate(run["hashes"]):
            if answer is not None and seen.setdefault(text, answer) != answer:
                differing.add(text)
    # Within a run only their number is known.
    return max(len(differing), max((min(run["differing"], len(run["hashes"])) for run in runs), default=0))
