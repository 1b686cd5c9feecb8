"""Sends short requests beside two texts of 2 MB without white space. Each short answer must arrive within 100 ms.

    python3 tests/operations/cost.py [--rate 20] [--seconds 20]

The long texts are sent again as soon as they are answered. Prints the median, the 99th percentile and the maximum of the response
times of the short requests and of the health routes, and how the long texts were answered. ORT_DYLIB_PATH names the ONNX Runtime library.
"""

import argparse
import http.client
import json
import pathlib
import sys
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from served import served  # noqa: E402

LIMIT = 0.100
SHORT = json.dumps({"text": "Angela Merkel met Tim Cook in Berlin yesterday ."})
LONG_BYTES = 2_000_000
# A text of a word per byte exceeds the default limit of windows, but only after it is split; with these limits it is tagged too.
OPTIONS = ("--max-text-bytes", "2000000", "--max-windows", "1000000", "--max-words", "10000000", "--drain-deadline-ms", "1000")
PATTERNS = {"percent signs": "%", "alternation": "a%", "dotted": "a1.", "ordinary words": "some words "}
HEADERS = {"content-type": "application/json"}


def request(connection, method, path, body=None):
    """The status of the complete answer."""
    connection.request(method, path, body, HEADERS if body else {})
    response = connection.getresponse()
    response.read()
    return response.status


def send_long_texts(port, body, until, answers):
    while time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            answers.append(request(connection, "POST", "/ner", body))
        except OSError as error:
            answers.append(type(error).__name__)
        finally:
            connection.close()


def send_short_requests(port, rate, until):
    """The response times of each route, and how many short requests were not answered 200."""
    times = {"/ner": [], "/health/live": [], "/health/ready": []}
    failed = 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    due = time.monotonic()
    while time.monotonic() < until:
        for route, took in times.items():
            body = SHORT if route == "/ner" else None
            began = time.perf_counter()
            try:
                status = request(connection, "POST" if body else "GET", route, body)
            except OSError:
                connection.close()
                status = None
            took.append(time.perf_counter() - began)
            failed += status != 200
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))
    return times, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=20, help="short requests per second")
    parser.add_argument("--seconds", type=float, default=20, help="duration of each pattern")
    arguments = parser.parse_args()
    late = False
    for name, pattern in PATTERNS.items():
        body = json.dumps({"text": (pattern * LONG_BYTES)[:LONG_BYTES], "include_words": False})
        with served(*OPTIONS) as server:
            port = urllib.parse.urlsplit(server.url).port
            until = time.monotonic() + arguments.seconds
            answers = []
            senders = [
                threading.Thread(target=send_long_texts, args=(port, body, until, answers), daemon=True) for _ in range(2)
            ]
            for sender in senders:
                sender.start()
            times, failed = send_short_requests(port, arguments.rate, until)
            # The server stops without waiting for the long texts, which end with an error.
        print(f"two texts of {LONG_BYTES} bytes of {name}: {len(answers)} answers, {sorted(set(map(str, answers)))}")
        for route, took in times.items():
            took.sort()
            median, tail, longest = (1000 * took[min(int(len(took) * part), len(took) - 1)] for part in (0.5, 0.99, 1))
            print(f"  {route:14} {len(took)} times, ms: median {median:.1f}, p99 {tail:.1f}, maximum {longest:.1f}")
            late |= took[-1] > LIMIT
        print(f"  not answered 200: {failed}")
        late |= failed > 0
    if late:
        sys.exit("a short request failed or took longer than 100 ms")


if __name__ == "__main__":
    main()
