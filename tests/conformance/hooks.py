"""What schemathesis must be told about JSON lines: how to make them, and what each line of an answer must be."""

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


@schemathesis.serializer("application/x-ndjson")
def examples(context, value):
    """The examples of the contract, which are text already."""
    return value.encode()


@schemathesis.deserializer("application/x-ndjson")
def json_lines(context, response):
    """The whole body as text, once every line of it is known to be an answer or an error."""
    text = response.content.decode()
    before = 0
    for line in text.splitlines():
        answer = json.loads(line)
        if not isinstance(answer, dict) or answer["line"] <= before:
            raise ValueError(f"not the line after {before}: {line}")
        if not isinstance(answer.get("entities"), list) and not isinstance(answer.get("error"), dict):
            raise ValueError(f"neither an answer nor an error: {line}")
        before = answer["line"]
    return text
