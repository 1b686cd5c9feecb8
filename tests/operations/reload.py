"""Publishes versions repeatedly while a server is under load. No request may fail, and memory must not grow.

    tests/operations/reload.py [BUNDLE BUNDLE] [--reloads 100] [--clients 8]

Without arguments, the two bundles are the default model and the same model with another temperature. Prints the outcomes of the
requests, the versions that answered, the time from publishing to the first answer, and resident memory after every tenth reload.
ORT_DYLIB_PATH names the ONNX Runtime library.
"""

import argparse
import contextlib
import http.client
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/deploy")]
from served import served  # noqa: E402
from versions import MODEL, another_version  # noqa: E402

# Permitted ratio of peak resident memory in the second half to the first. It varies with the time at which old versions are freed.
GROWTH = 1.25

TEXTS = ["Angela Merkel met Tim Cook in Berlin", "just saw Batman with my cat at Walmart", "so tired today"]


class Load(threading.Thread):
    """Sends texts one after another on one connection, and counts outcomes and the versions that answered."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.ends, self.versions, self.stopping = port, {}, {}, False

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        number = 0
        while not self.stopping:
            number += 1
            body = json.dumps({"text": TEXTS[number % len(TEXTS)]})
            try:
                connection.request("POST", "/ner", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                answered = json.loads(answer.read())
                end = answer.status
                if end == 200:
                    version = answered["model"]["version"]
                    self.versions[version] = self.versions.get(version, 0) + 1
            except (OSError, http.client.HTTPException, ValueError) as error:
                end = type(error).__name__
                connection.close()
            self.ends[end] = self.ends.get(end, 0) + 1


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    began = time.monotonic()
    connection.request("GET", path)
    body = connection.getresponse().read()
    return body, time.monotonic() - began


def version_served(port):
    return json.loads(get(port, "/info")[0])["model"]["version"]


def resident(pid):
    """Resident memory in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


def total(parts):
    sums = {}
    for part in parts:
        for key, count in part.items():
            sums[key] = sums.get(key, 0) + count
    return sums


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=pathlib.Path)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    arguments = parser.parse_args()
    if len(arguments.bundles) not in (0, 2):
        parser.error("give two bundles or none")
    with contextlib.ExitStack() as ending:
        work = ending.enter_context(tempfile.TemporaryDirectory())
        bundles = arguments.bundles or [MODEL, ending.enter_context(another_version())[0]]
        store = pathlib.Path(work) / "store"

        def publish(bundle):
            command = [arguments.binaries / "nerve-export", "publish", bundle, "--store", store]
            path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            return pathlib.Path(path).name

        publish(bundles[0])
        with served("--reload-poll-ms", "1000", model=store) as server:
            port = urllib.parse.urlsplit(server.url).port
            loads = [Load(port) for _ in range(arguments.clients)]
            for load in loads:
                load.start()
            time.sleep(3)
            memory, waits, slowest = [resident(server.pid)], [], 0.0
            for reload in range(1, arguments.reloads + 1):
                began = time.monotonic()
                version = publish(bundles[reload % 2])
                while version_served(port) != version:
                    slowest = max(slowest, get(port, "/health/ready")[1])
                    if time.monotonic() - began > 60:
                        sys.exit(f"version {version} was not served within 60 s")
                    time.sleep(0.02)
                waits.append(time.monotonic() - began)
                if reload % 10 == 0:
                    memory.append(resident(server.pid))
                    print(f"{reload} reloads, {memory[-1]:.0f} MiB", file=sys.stderr)
            for load in loads:
                load.stopping = True
            for load in loads:
                load.join()
            metrics = get(port, "/metrics")[0].decode()
    ends = total(load.ends for load in loads)
    print("requests by outcome:", ends)
    print("answers by version:", total(load.versions for load in loads))
    print(f"from publishing to the first answer: median {sorted(waits)[len(waits) // 2]:.2f} s, longest {max(waits):.2f} s")
    print(f"slowest /health/ready during a reload: {1000 * slowest:.0f} ms")
    print("resident MiB after every tenth reload:", " ".join(f"{mib:.0f}" for mib in memory))
    for line in metrics.splitlines():
        if line.startswith(("nerve_reloads_total", "nerve_received_total", "nerve_outcomes_total", "nerve_in_flight")):
            print(line)
    if set(ends) != {200}:
        sys.exit("requests failed")
    sums = {}
    for line in metrics.splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            name = series.split("{")[0]
            sums[name] = sums.get(name, 0) + float(value)
    if sums["nerve_received_total"] != sums["nerve_outcomes_total"] + sums["nerve_in_flight"]:
        sys.exit("the counters of requests do not add up")
    half = (1 + len(memory)) // 2
    if len(memory) >= 4 and max(memory[half:]) > GROWTH * max(memory[1:half]):
        sys.exit("resident memory grows")


if __name__ == "__main__":
    main()
