"""A constant load of /ner and /ner/batch requests, with the outcome of each."""

import asyncio
import contextlib
import dataclasses
import json
import statistics
import time
import uuid

TEXTS = [
    "Empire State Building is where Barack Obama met Beyoncé",
    "rt @ida : flying from Oslo to New York with SAS tomorrow lol",
    "Just watched The Matrix again on Netflix",
    "nothing to see here",
    "Microsoft and Apple both opened a shop in Paris , says Tim Cook",
    "so tired today",
    "Real Madrid plays in Munich on Tuesday night and half of Spain is already on its way there",
    "my new iPhone fell into the Thames",
]
BATCH = 16
# Over 16 KiB, so that HAProxy cannot retry it, and slow to process.
LONG_TEXT = " ".join(TEXTS * 45)
# One request in so many is a batch, and one in so many has the long text.
BATCH_EVERY, LONG_EVERY = 10, 50
# Longer than HAProxy waits for a replica, so a request without a response by then never gets one.
PATIENCE_SECONDS = 90


@dataclasses.dataclass
class Request:
    """A request and its outcome: "answered", "refused" or "failed", or None while it waits."""

    id: str
    began: float
    ended: float | None = None
    outcome: str | None = None
    # The reason of a refusal or failure, or the version of the model that answered.
    detail: str = ""

    def spans(self, moment):
        return self.began <= moment and (self.ended is None or self.ended >= moment)


class Load:
    """Sends requests at a constant rate, independently of responses, until it is stopped."""

    def __init__(self, address, rate, answers):
        self.requests = []
        self._host, self._port = address.split(":")
        self._rate = rate
        # The answer to each text by each version, which must be the same on all replicas.
        self._answers = answers
        self._idle, self._running = [], set()
        self._sending = asyncio.create_task(self._send())

    async def stop(self):
        """Stops sending and waits for outstanding requests. A request without an outcome after that is lost."""
        self._sending.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=PATIENCE_SECONDS + 10)
        for _, writer in self._idle:
            writer.close()

    def count(self, outcome):
        return sum(request.outcome == outcome for request in self.requests)

    def failed(self):
        return [request for request in self.requests if request.outcome == "failed"]

    def versions(self, since=0.0):
        return {request.detail for request in self.requests if request.outcome == "answered" and request.began >= since}

    def milliseconds(self):
        """The median and the longest duration of answered requests."""
        took = [1000 * (request.ended - request.began) for request in self.requests if request.outcome == "answered"]
        return (statistics.median(took), max(took)) if took else (float("nan"), float("nan"))

    async def _send(self):
        began = time.monotonic()
        for number in range(1 << 62):
            await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
            task = asyncio.create_task(self._request(number))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _request(self, number):
        texts = [TEXTS[number % len(TEXTS)]]
        path, body = "/ner", {"text": texts[0]}
        if number % LONG_EVERY == 1:
            texts = [LONG_TEXT]
            path, body = "/ner", {"text": LONG_TEXT}
        elif number % BATCH_EVERY == 0:
            texts = [TEXTS[(number + offset) % len(TEXTS)] for offset in range(BATCH)]
            path, body = "/ner/batch", {"items": [{"text": text} for text in texts]}
        request = Request(str(uuid.uuid4()), time.time())
        self.requests.append(request)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                status, headers, answer = await self._exchange(path, body, request.id)
            request.outcome, request.detail = self._judge(request.id, texts, status, headers, answer)
        except (OSError, EOFError, ValueError, KeyError, asyncio.LimitOverrunError) as error:
            request.outcome, request.detail = "failed", f"{type(error).__name__}: {error}"
        request.ended = time.time()

    async def _exchange(self, path, body, name):
        reader, writer = await self._connection()
        try:
            payload = json.dumps(body).encode()
            head = f"POST {path} HTTP/1.1\r\nhost: nerve\r\ncontent-type: application/json\r\n"
            head += f"x-request-id: {name}\r\ncontent-length: {len(payload)}\r\n\r\n"
            writer.write(head.encode() + payload)
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {key.lower(): value.strip() for key, value in (line.split(":", 1) for line in lines)}
            answer = await reader.readexactly(int(headers["content-length"]))
        except BaseException:
            writer.close()
            raise
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(first.split()[1]), headers, json.loads(answer)

    async def _connection(self):
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, int(self._port))

    def _judge(self, name, texts, status, headers, answer):
        if status == 429:
            return "refused", answer["error"]["code"]
        if status != 200:
            with contextlib.suppress(KeyError, TypeError):
                return "failed", f"{status} {answer['error']['code']}"
            return "failed", str(status)
        if headers.get("x-request-id") != name:
            return "failed", "the response has the id of another request"
        version = answer["model"]["version"]
        results = answer.get("results", [answer])
        if len(results) != len(texts):
            return "failed", f"{len(results)} results for {len(texts)} texts"
        for text, result in zip(texts, results):
            found = json.dumps(result["entities"]), json.dumps(result["words"])
            if self._answers.setdefault((text, version), found) != found:
                return "failed", f"version {version} gave another answer to {text[:40]!r}"
        return "answered", version
