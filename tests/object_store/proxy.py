"""An HTTP proxy in front of an S3 server, which injects faults."""

import http.client
import http.server
import random
import threading
import time

# A request to `current` is done while no other one is: the server behind does not compare and write in one step.
CURRENT = threading.Lock()


class Proxy:
    """Forwards requests to a server. `fault` names what goes wrong, in half of the requests where that is not said otherwise:

    - `500`: the answer is 500
    - `timeout`: there is no answer for longer than the client waits
    - `truncated`: the connection ends in the middle of the body
    - `away`: every connection is closed
    - `corrupted`: a byte of every file `model.onnx` is another
    - `denied`: every answer is 403
    - `stalled`: the body of every `model.onnx` stops in the middle
    """

    def __init__(self, port):
        self.fault, self.injected, self.pairs = None, 0, None
        self._origin, proxy = port, self

        class Handler(_Handler):
            pass

        Handler.proxy = proxy
        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        # Clients that give up are part of the test.
        pass


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy = None

    def log_message(self, *arguments):
        pass

    def _forward(self):
        proxy = self.proxy
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        fault = proxy.fault
        is_current = self.path.split("?")[0].endswith("/current")
        pairs = proxy.pairs
        if pairs and is_current and self.command == "GET":
            pairs.wait(30)
        if fault in ("500", "timeout", "truncated") and random.random() < 0.5:
            fault = None
        is_model = self.command == "GET" and self.path.endswith("/model.onnx")
        if fault in ("corrupted", "stalled") and not is_model:
            fault = None
        if fault:
            proxy.injected += 1
        if fault == "away":
            self.close_connection = True
            return
        if fault == "timeout":
            time.sleep(6)
            self.close_connection = True
            return
        if fault == "500":
            return self._answer(500, [], b"<Error><Code>InternalError</Code></Error>")
        if fault == "denied":
            return self._answer(403, [], b"<Error><Code>AccessDenied</Code></Error>")
        with CURRENT if is_current else threading.Lock():
            status, headers, content = self._ask(body)
        if fault == "corrupted":
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        self._answer(status, headers, content, fault in ("truncated", "stalled"), fault == "stalled")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward

    def _ask(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy._origin, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), content

    def _answer(self, status, headers, content, truncated=False, stalled=False):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if status != 304:
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if truncated else content)
        if stalled:
            time.sleep(30)
        if truncated:
            self.wfile.flush()
            self.close_connection = True
