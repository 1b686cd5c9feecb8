"""Calls POST / with huggingface_hub.InferenceClient.token_classification."""

import os

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

TEXT = "Empire State Building is where Barack Obama met Beyoncé"

client = InferenceClient(model=os.environ["NERVE_URL"] + "/")

for strategy in ["none", "simple", "first", "average", "max"]:
    found = client.token_classification(TEXT, aggregation_strategy=strategy)
    print(f"token_classification(TEXT, aggregation_strategy={strategy!r})")
    for entity in found:
        print("   ", dict(entity))
        # The `word` of a subword can differ from the text at its offsets, so only the offsets are checked.
        assert TEXT[entity.start : entity.end].strip(), entity
        assert 0 <= entity.score <= 1, entity
    kinds = {entity.entity if strategy == "none" else entity.entity_group for entity in found}
    assert any("person" in kind for kind in kinds), kinds

found = client.token_classification(TEXT, aggregation_strategy="first", ignore_labels=["O", "B-person", "person"])
print("ignore_labels:", [dict(entity) for entity in found])

try:
    client.token_classification(TEXT, aggregation_strategy="best")
except HfHubHTTPError as error:
    print("a refusal:", type(error).__name__, error.response.status_code, str(error).splitlines()[-1])
    assert error.response.status_code in (400, 422)
    assert "best" in str(error), error
else:
    raise SystemExit("a wrong strategy was not refused")
