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
CLIENTS = {
    "hub": [*PYTHON, HERE / "hub.py"],
    "triton": [*PYTHON, HERE / "triton.py"],
    "oip": [*PYTHON, HERE / "oip.py"],
    "generated": [*PYTHON, HERE / "generated.py"],
    "node": ["node", HERE / "hub.mjs"],
}


def main():
    wanted = sys.argv[1:] or list(CLIENTS)
    if unknown := set(wanted) - set(CLIENTS):
        raise SystemExit(f"unknown clients: {', '.join(sorted(unknown))}; choose from {', '.join(CLIENTS)}")
    failed, skipped = [], []
    with served() as server:
        for name in wanted:
            print(f"\n=== {name}", flush=True)
            if name == "node" and shutil.which("npm") is None:
                print("SKIPPED: npm is not installed, so @huggingface/inference is NOT tested")
                skipped.append(name)
                continue
            if name == "node":
                subprocess.run(["npm", "ci", "--silent", "--no-fund", "--no-audit"], cwd=HERE, check=True)
            outcome = subprocess.run(CLIENTS[name], env={**os.environ, "NERVE_URL": server.url}, timeout=300)
            if outcome.returncode != 0:
                failed.append(name)
    passed = [name for name in wanted if name not in failed + skipped]
    print(f"\npassed: {', '.join(passed) or '-'}; skipped: {', '.join(skipped) or '-'}; failed: {', '.join(failed) or '-'}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
