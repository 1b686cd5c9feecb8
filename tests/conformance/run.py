"""Checks a running server against its own /openapi.json with schemathesis.

    make conformance
"""

import json
import os
import pathlib
import subprocess
import sys
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from served import served  # noqa: E402


def main():
    tool = pathlib.Path(sys.executable).with_name("schemathesis")
    with served() as server:
        with urllib.request.urlopen(f"{server.url}/info") as answer:
            model = json.load(answer)["model"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "SCHEMATHESIS_HOOKS": "hooks",
            "NERVE_MODEL_NAME": model["name"],
            "NERVE_MODEL_VERSION": model["version"],
        }
        command = [tool, "--config-file", HERE / "schemathesis.toml", "run", f"{server.url}/openapi.json", *sys.argv[1:]]
        outcome = subprocess.run(command, cwd=HERE, env=environment, timeout=300)
    raise SystemExit(outcome.returncode)


if __name__ == "__main__":
    main()
