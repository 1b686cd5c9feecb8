"""Attacks the memory of a server with a small --max-inflight-bytes. It must not take much more than that.

    tests/operations/memory.py [--model BUNDLE] [--server PROGRAM]

Three attacks, each on a server of its own:

- `unread`: 12 clients send requests with large answers, and read nothing
- `words`: 12 clients send `"",` repeated as words, whose answer is 20 times the request
- `streams`: 16 clients of /ner/stream send lines that need much memory, or more than there is, and read nothing

Prints the resident memory of the idle server and the most during each attack, and how requests ended. Fails if an attack takes
more than the budget and 64 MiB. ORT_DYLIB_PATH names the ONNX Runtime library.
"""

import argparse
import collections
import json
import pathlib
import socket
import sys
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
import served  # noqa: E402

BUDGET = 4 << 20
ALLOWANCE = 64 << 20
CLIENTS = 12
STREAMS = 16
# Seconds of an attack.
SECONDS = 20


def resident(pid):
    """The resident memory of a process in bytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise SystemExit("no VmRSS")


def request(port, path, body, until, media_type="application/json"):
    """The status of a request whose answer is not read further; `refused`, or `unread` if no answer is complete by then."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: attack\r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as client:
        # A small window, so that the server keeps the answer.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(5)
        try:
            client.sendall(head.encode() + body)
            client.settimeout(max(until - time.monotonic(), 0.1))
            status = client.recv(12).decode()[-3:]
        except OSError:
            return "no answer"
        if status == "200":
            time.sleep(max(until - time.monotonic(), 0))
        return status


def attack(port, path, bodies, clients, until):
    """The number of requests by status. Each client sends one request after another; a refused one is sent again."""
    ends = collections.Counter()

    def client(number):
        while time.monotonic() < until:
            ends[request(port, path, bodies[number % len(bodies)], until)] += 1
            time.sleep(0.05)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends


def empty_words(count):
    """A request of words that take no time to tag. Its answer is 20 times as long."""
    return b'{"words": [' + b'"",' * (count - 1) + b'""]}'


def unread(port, until):
    text = json.dumps({"text": "Angela Merkel met Tim Cook in Berlin . " * 500}).encode()
    return attack(port, "/ner", [empty_words(100_000), empty_words(20_000), text], CLIENTS, until)


def words(port, until):
    return attack(port, "/ner", [empty_words(1_040_000)], CLIENTS, until)


def streams(port, until):
    head = (
        b"POST /ner/stream HTTP/1.1\r\nhost: attack\r\ncontent-type: application/x-ndjson\r\ncontent-length: 9999999999\r\n\r\n"
    )
    lines = [empty_words(count) + b"\n" for count in (1_000_000, 200_000, 10_000)]
    sent = collections.Counter()

    def client(number):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(1)
            line = lines[number % len(lines)]
            left = memoryview(head + line)
            while time.monotonic() < until:
                try:
                    taken = connection.send(left)
                    sent["bytes taken"] += taken
                    left = left[taken:] or memoryview(line)
                except TimeoutError:
                    pass
                except OSError:
                    break
            time.sleep(max(until - time.monotonic(), 0))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, default=served.MODEL)
    parser.add_argument("--server", type=pathlib.Path, default=served.SERVER)
    arguments = parser.parse_args()
    served.SERVER = arguments.server
    failed = []
    for one in (unread, words, streams):
        options = ("--max-inflight-bytes", str(BUDGET))
        with served.served(*options, model=arguments.model) as server:
            port = urllib.parse.urlsplit(server.url).port
            idle = most = resident(server.pid)
            until = time.monotonic() + SECONDS
            outcome = []
            thread = threading.Thread(target=lambda: outcome.append(one(port, until)))
            thread.start()
            while thread.is_alive():
                most = max(most, resident(server.pid))
                time.sleep(0.01)
            slowest = 0
            for _ in range(20):
                began = time.monotonic()
                urllib.request.urlopen(f"{server.url}/health/live", timeout=30).read()
                slowest = max(slowest, time.monotonic() - began)
            after = resident(server.pid)
        print(
            f"{one.__name__:8} idle {idle >> 20} MiB, most {most >> 20} MiB (+{(most - idle) >> 20}), "
            f"afterwards {after >> 20} MiB; {dict(outcome[0])}",
            flush=True,
        )
        if most - idle > BUDGET + ALLOWANCE:
            failed.append(one.__name__)
    if failed:
        sys.exit(f"more than {(BUDGET + ALLOWANCE) >> 20} MiB over the idle server: {', '.join(failed)}")


if __name__ == "__main__":
    main()
