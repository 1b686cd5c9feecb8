"""Checks a running server against its /openapi.json with schemathesis.

    make conformance
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from served import served  # noqa: E402


# Without a key, the /admin routes would only return errors.
ADMIN_KEY = "conformance"


def main():
    tool = pathlib.Path(sys.executable).with_name("schemathesis")
    with tempfile.NamedTemporaryFile("w") as keys:
        keys.write(f"{ADMIN_KEY}\n")
        keys.flush()
        outcome = run(tool, keys.name)
    raise SystemExit(outcome.returncode)


def run(tool, keys):
    """Runs schemathesis against a server with the admin keys in the file `keys`."""
    with served("--admin-keys-file", keys) as server:
        with urllib.request.urlopen(f"{server.url}/info") as answer:
            model = json.load(answer)["model"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "SCHEMATHESIS_HOOKS": "hooks",
            "NERVE_MODEL_NAME": model["name"],
            "NERVE_MODEL_VERSION": model["version"],
        }
        command = [tool, "--config-file", HERE / "schemathesis.toml", "run", f"{server.url}/openapi.json"]
        command += ["--header", f"x-api-key: {ADMIN_KEY}", *sys.argv[1:]]
        return subprocess.run(command, cwd=HERE, env=environment, timeout=300)


if __name__ == "__main__":
    main()
