"""Runs the clients of this folder against a server. The exit status is 1 if one of them fails.

    make clients                # all
    make clients CLIENT=triton  # one
"""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from served import served  # noqa: E402

PYTHON = [sys.executable, "-u"]
# MLServer and KServe's SDK need different versions of the same packages.
MLSERVER_PYTHON = [HERE.parent.parent / ".venv-mlserver" / "bin" / "python", "-u"]
CLIENTS = {
    "hub": [*PYTHON, HERE / "hub.py"],
    "triton": [*PYTHON, HERE / "triton.py"],
    "triton-grpc": [*PYTHON, HERE / "triton_grpc.py"],
    "kserve": [*PYTHON, HERE / "kserve_sdk.py"],
    "mlserver": [*MLSERVER_PYTHON, HERE / "mlserver_codecs.py"],
    "oip": [*PYTHON, HERE / "oip.py"],
    "generated": [*PYTHON, HERE / "generated.py"],
    "node": ["node", HERE / "hub.mjs"],
}


def main():
    wanted = sys.argv[1:] or list(CLIENTS)
    if unknown := set(wanted) - set(CLIENTS):
        raise SystemExit(f"unknown clients: {', '.join(sorted(unknown))}; choose from {', '.join(CLIENTS)}")
    failed, skipped = [], []
    with served("--grpc-listen", "127.0.0.1:0") as server:
        environment = {**os.environ, "NERVE_URL": server.url, "NERVE_GRPC": server.grpc}
        for name in wanted:
            print(f"\n=== {name}", flush=True)
            if name == "node" and shutil.which("npm") is None:
                print("SKIPPED: npm is not installed, so @huggingface/inference is NOT tested")
                skipped.append(name)
                continue
            if name == "node":
                subprocess.run(["npm", "ci", "--silent", "--no-fund", "--no-audit"], cwd=HERE, check=True)
            outcome = subprocess.run(CLIENTS[name], env=environment, timeout=300)
            if outcome.returncode != 0:
                failed.append(name)
    passed = [name for name in wanted if name not in failed + skipped]
    print(f"\npassed: {', '.join(passed) or '-'}; skipped: {', '.join(skipped) or '-'}; failed: {', '.join(failed) or '-'}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
