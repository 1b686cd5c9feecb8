"""Measures /ner/stream: its throughput next to that of /ner over 32 connections, and the server's memory during a long upload.

    python3 bench/stream.py rate FILE.conll          # sends the texts of a corpus to both routes
    python3 bench/stream.py memory --lines 1000000   # sends generated lines of one to three words
"""

import argparse
import asyncio
import itertools
import json
import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from served import served  # noqa: E402

NAMES = "ann bob oslo rome paris new york met in the a rt lol Barack Obama Beyoncé London today #news @ida".split()


def corpus(path):
    """The sentences of a CoNLL file as running texts."""
    for sentence in pathlib.Path(path).read_text(encoding="utf-8").split("\n\n"):
        if words := [line.split("\t")[0] for line in sentence.splitlines() if line.strip()]:
            yield " ".join(words)


def short_texts(count):
    chosen = random.Random(1)
    for _ in range(count):
        yield " ".join(chosen.choices(NAMES, k=chosen.randint(1, 3)))


async def connect(server):
    host, port = server.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port), limit=1 << 24)


async def stream(server, texts, on_results=lambda lines: None):
    """Sends the texts as one stream, checks the order of the results and returns their number."""
    reader, writer = await connect(server)
    head = "POST /ner/stream HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
    writer.write(head.encode())

    async def send():
        lines = (json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts, 1))
        for block in iter(lambda: "".join(itertools.islice(lines, 256)).encode(), b""):
            writer.write(b"%x\r\n%s\r\n" % (len(block), block))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    sending = asyncio.create_task(send())
    status = await reader.readuntil(b"\r\n\r\n")
    assert status.startswith(b"HTTP/1.1 200"), status
    answers, rest = 0, b""
    while size := int(await reader.readline(), 16):
        chunk = rest + await reader.readexactly(size)
        await reader.readline()
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            answers += 1
            if not line.startswith(b'{"id":%d,"line":%d,"entities"' % (answers, answers)):
                raise SystemExit(f"answer {answers} is {line[:200]!r}")
        on_results(answers)
    await sending
    writer.close()
    return answers


async def requests(server, texts, connections):
    """Sends each text in a request of its own."""
    texts = iter(texts)

    async def client():
        reader, writer = await connect(server)
        for text in texts:
            body = json.dumps({"text": text}).encode()
            head = f"POST /ner HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))


def resident_mib(server):
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_seconds(server):
    """The CPU time of the server in seconds, which other load on the machine hardly affects."""
    fields = pathlib.Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def rate(server, options):
    texts = list(corpus(options.corpus))
    print(f"{len(texts)} texts, {options.rounds} rounds")
    for number in range(1, options.rounds + 1):
        for name, work in [
            ("/ner/stream, one connection", lambda: stream(server, texts)),
            ("/ner, 32 connections", lambda: requests(server, texts, 32)),
        ]:
            began, cpu = time.monotonic(), cpu_seconds(server)
            await work()
            seconds, cpu = time.monotonic() - began, cpu_seconds(server) - cpu
            each = 1000 * cpu / len(texts)
            print(f"round {number}: {name}: {len(texts) / seconds:.0f} texts/s, {each:.2f} ms CPU per text", flush=True)


async def memory(server, options):
    began = time.monotonic()
    print(f"{0:>6.0f} s {0:>9} lines {resident_mib(server):7.1f} MiB", flush=True)
    shown = [0.0]

    def on_results(lines):
        seconds = time.monotonic() - began
        if seconds - shown[0] >= options.every or lines == options.lines:
            shown[0] = seconds
            print(f"{seconds:>6.0f} s {lines:>9} lines {resident_mib(server):7.1f} MiB {lines / seconds:7.0f} lines/s", flush=True)

    answers = await stream(server, short_texts(options.lines), on_results)
    assert answers == options.lines, answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("rate")
    command.add_argument("corpus")
    command.add_argument("--rounds", type=int, default=3)
    command.set_defaults(run=rate)
    command = commands.add_parser("memory")
    command.add_argument("--lines", type=int, default=1_000_000)
    command.add_argument("--every", type=float, default=5.0)
    command.set_defaults(run=memory)
    options = parser.parse_args()
    with served("--max-line-bytes", "65536") as server:
        asyncio.run(options.run(server, options))


if __name__ == "__main__":
    main()
