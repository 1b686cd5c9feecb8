"""Requests health and metrics of a saturated server. Each response must arrive within 50 ms.

    tests/operations/saturation.py [--model BUNDLE] [--clients 64] [--seconds 20]

The load exceeds the limit of the queue, so that requests are refused. Prints the outcomes of the load's requests, and the median,
the 99th percentile and the maximum of the response times of each route. The clients share the cores with the server, so they run
at a lower priority, as if they were on other machines. ORT_DYLIB_PATH names the ONNX Runtime library.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import pathlib
import sys
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from served import served  # noqa: E402

ROUTES = ["/health/live", "/health/ready", "/metrics"]
LIMIT = 0.050
TEXT = "Angela Merkel met Tim Cook in Berlin before the summit of the European Union in Paris . " * 4
TEXTS = 64
# Windows. The batches of a few clients fill the queue, so most requests are refused.
QUEUE = 256
# Wait after a refusal, in seconds. It is shorter than the server's Retry-After.
PAUSE = 0.05


def load(port, until, ends):
    """Sends batches one after another. A worker needs more than a quarter of a second for each."""
    os.nice(10)
    body = json.dumps({"items": [{"text": TEXT}] * TEXTS, "include_words": False})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    seen = {}
    while time.monotonic() < until:
        try:
            connection.request("POST", "/ner/batch", body, {"content-type": "application/json"})
            response = connection.getresponse()
            response.read()
            end = response.status
            if end == 429:
                time.sleep(PAUSE)
        except (OSError, http.client.HTTPException) as error:
            end = type(error).__name__
            connection.close()
        seen[end] = seen.get(end, 0) + 1
    ends.put(seen)


def ask(connection, route):
    """The body of the response, and the seconds until it was complete."""
    began = time.perf_counter()
    connection.request("GET", route)
    response = connection.getresponse()
    body = response.read()
    took = time.perf_counter() - began
    if response.status != 200:
        sys.exit(f"{route} answered {response.status}")
    return body.decode(), took


def series(metrics, name):
    """The sum over all series of a metric."""
    lines = [line for line in metrics.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models/default")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    with served("--queue-requests", str(QUEUE), model=arguments.model) as server:
        port = urllib.parse.urlsplit(server.url).port
        until = time.monotonic() + arguments.seconds
        ends = multiprocessing.Queue()
        clients = [multiprocessing.Process(target=load, args=(port, until, ends)) for _ in range(arguments.clients)]
        for client in clients:
            client.start()
        time.sleep(2)
        times = {route: [] for route in ROUTES}
        waiting = []
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while time.monotonic() < until:
            for route in ROUTES:
                body, took = ask(connection, route)
                times[route].append(took)
                if route == "/metrics":
                    waiting.append(series(body, "nerve_queue_windows"))
            time.sleep(0.02)
        total = {}
        for _ in clients:
            for end, count in ends.get().items():
                total[end] = total.get(end, 0) + count
        for client in clients:
            client.join()
        metrics, _ = ask(connection, "/metrics")
    print("load, requests by outcome:", total)
    print(f"waiting windows: {min(waiting):.0f} to {max(waiting):.0f} of {QUEUE}")
    late = False
    for route, took in times.items():
        took.sort()
        median, tail, longest = (1000 * took[int(len(took) * part)] for part in (0.5, 0.99, 1 - 1e-9))
        print(f"{route:14} {len(took)} times, ms: median {median:.1f}, p99 {tail:.1f}, maximum {longest:.1f}")
        late |= took[-1] > LIMIT
    received, ended = (series(metrics, f"nerve_{name}_total") for name in ("received", "outcomes"))
    in_flight = series(metrics, "nerve_in_flight")
    print(f"received {received:.0f} = ended {ended:.0f} + in flight {in_flight:.0f}")
    if set(total) - {200, 429}:
        sys.exit("requests failed")
    if 429 not in total:
        sys.exit("no request was refused, so the server was not saturated")
    if received != ended + in_flight:
        sys.exit("the counters of requests do not add up")
    if late:
        sys.exit("a route took longer than 50 ms")


if __name__ == "__main__":
    main()
