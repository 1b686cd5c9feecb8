"""Hooks of schemathesis for JSON lines: generation of request bodies, and validation of each line of a response."""

import json

import schemathesis
from hypothesis import strategies

TEXTS = strategies.text(max_size=40)
NAMES = strategies.one_of(strategies.text(max_size=8), strategies.integers(), strategies.floats(allow_nan=False, allow_infinity=False))
ITEMS = strategies.one_of(
    strategies.fixed_dictionaries({"text": TEXTS}, optional={"id": NAMES}),
    strategies.fixed_dictionaries({"words": strategies.lists(TEXTS, max_size=5)}, optional={"id": NAMES}),
)
LINES = strategies.one_of(
    ITEMS.map(lambda item: json.dumps(item).encode()),
    strategies.sampled_from([b"", b"  ", b"{", b"[]", b'{"id": 1}', b'{"text": 1}', b'{"text": "\xff"}', b'{"x": 1}']),
    strategies.binary(max_size=20),
)
schemathesis.openapi.media_type("application/x-ndjson", strategies.lists(LINES, max_size=8).map(b"\n".join))


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Removes the examples of JSON lines, which schemathesis cannot use together with a strategy. The server's tests send them."""
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            operation.get("requestBody", {}).get("content", {}).get("application/x-ndjson", {}).pop("example", None)


@schemathesis.deserializer("application/x-ndjson")
def json_lines(context, response):
    """The body as text. Raises ValueError if a line is neither a result nor an error, or out of order."""
    text = response.content.decode()
    before = 0
    for line in text.removesuffix("\n").split("\n") if text else []:
        answer = json.loads(line)
        if not isinstance(answer, dict) or answer["line"] <= before:
            raise ValueError(f"a line after line {before} is out of order: {line}")
        if not isinstance(answer.get("entities"), list) and not isinstance(answer.get("error"), dict):
            raise ValueError(f"neither a result nor an error: {line}")
        before = answer["line"]
    return text
