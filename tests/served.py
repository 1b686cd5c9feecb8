"""Runs a nerve-server on a port of its own, for the scripts in this folder."""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
SERVER = pathlib.Path(os.environ.get("NERVE_SERVER", REPOSITORY / "target" / "release" / "nerve-server"))
MODEL = REPOSITORY / "models" / "default"


@dataclasses.dataclass
class Served:
    """The URL of a server, http://127.0.0.1:PORT, its process id, and its address for gRPC, 127.0.0.1:PORT, if it has one."""

    url: str
    pid: int
    grpc: str | None = None


@contextlib.contextmanager
def served(*options, model=MODEL, command=(SERVER,)):
    """Serves a model until the block ends; yields a `Served`. `command` starts the server."""
    command = [*command, "--model", model, "--listen", "127.0.0.1:0", "--log", "json", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NERVE_")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        listening = _listening(process)
        url = f"http://{listening['address']}"
        # The pipe must be read, because the server blocks when it is full.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        _wait_until_ready(url)
        yield Served(url, process.pid, listening.get("grpc"))
        if process.poll() is not None:
            raise SystemExit(f"the server exited with status {process.returncode}")
    finally:
        process.terminate()
        process.wait(60)


def _listening(process):
    for line in process.stderr:
        try:
            fields = json.loads(line)["fields"]
        except (ValueError, KeyError):
            print(line, end="")
            continue
        if "address" in fields:
            return fields
    raise SystemExit(f"the server exited with status {process.wait()} before it was listening")


def _wait_until_ready(url):
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise SystemExit("the server is not ready after a minute") from None
            time.sleep(0.1)
