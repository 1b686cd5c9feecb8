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


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Schemathesis takes no textual example where it is told how to make bodies; the server's own tests send it."""
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            operation.get("requestBody", {}).get("content", {}).get("application/x-ndjson", {}).pop("example", None)


@schemathesis.deserializer("application/x-ndjson")
def json_lines(context, response):
    """The whole body as text, once every line of it is known to be an answer or an error."""
    text = response.content.decode()
    before = 0
    for line in text.removesuffix("\n").split("\n") if text else []:
        answer = json.loads(line)
        if not isinstance(answer, dict) or answer["line"] <= before:
            raise ValueError(f"not the line after {before}: {line}")
        if not isinstance(answer.get("entities"), list) and not isinstance(answer.get("error"), dict):
            raise ValueError(f"neither an answer nor an error: {line}")
        before = answer["line"]
    return text
