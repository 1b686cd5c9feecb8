"""Tags Arrow record batches with `nerve-server tag`, for the modules in ../spark and ../ray. Needs Linux or macOS, and pyarrow.

    tagger = Tagger(["--model", "dslim/bert-base-NER", "--text-column", "body"])
    for answered in tagger.tag(batches):
        ...

An answered batch has the rows and columns of its batch, in order, and two columns more: `entities` and `error`.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

# The process computes one batch while the next one is written to it and the previous one is read.
BATCHES_IN_FLIGHT = 3
# The lines of standard error that an error repeats.
ERROR_LINES = 40
# How long a process may take to end after its input or output has ended.
END_SECONDS = 30

# The columns that `nerve-server tag` adds.
ENTITY = pa.struct([
    pa.field(name, kind, nullable=False)
    for name, kind in {"type": pa.string(), "text": pa.string(), "start": pa.int64(), "end": pa.int64(), "score": pa.float32()}.items()
])
ANSWER_FIELDS = [pa.field("entities", pa.list_(pa.field("item", ENTITY, nullable=False))), pa.field("error", pa.string())]


class TagError(RuntimeError):
    """Why the process did not answer: how it ended, and the last lines that it wrote to standard error."""


class Tagger:
    """Tags batches in one `nerve-server tag` process, which starts with the first batch and stays for the next call.

    The process ends with the Python process, however that ends: its standard input is then at its end.
    """

    def __init__(self, options: Sequence[str] = (), program: str = "nerve-server", cores: int = 1) -> None:
        """`options` are those of `nerve-server tag --help` but --input, --output and --out; `program` is a path, or a name in PATH."""
        for option in options:
            if option.partition("=")[0] in ("--input", "--output", "--out"):
                raise ValueError(f"{option}: the engine reads and writes the rows; leave this option out")
        self.command = [program, "tag", "--input", "arrow", "--output", "arrow", *options, "-"]
        self.cores = cores
        self._process: _Process | None = None

    def tag(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yields each batch with its answers, in order. Only one iterator of a tagger is in use at a time."""
        in_flight = 0
        try:
            for batch in batches:
                if self._process is None or not self._process.takes(batch.schema):
                    yield from self._receive(in_flight)
                    in_flight = 0
                    self.close()
                    self._process = _Process(self.command, self.cores, batch.schema)
                self._process.send(batch)
                in_flight += 1
                if in_flight == BATCHES_IN_FLIGHT:
                    yield from self._receive(1)
                    in_flight -= 1
            yield from self._receive(in_flight)
        except BaseException:
            # Answers may be outstanding, which must not become those of other batches.
            if self._process is not None:
                self._process.kill()
                self._process = None
            raise

    def tag_table(self, table: pa.Table) -> pa.Table:
        """Tags a table in one call."""
        schema = pa.schema([*table.schema, *ANSWER_FIELDS], table.schema.metadata)
        return pa.Table.from_batches(self.tag(table.combine_chunks().to_batches()), schema)

    def close(self) -> None:
        """Ends the process, if there is one."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _receive(self, count: int) -> Iterator[pa.RecordBatch]:
        for _ in range(count):
            assert self._process is not None
            yield self._process.receive()


_shared: Tagger | None = None


def shared_tagger(options: Sequence[str], program: str, cores: int) -> Tagger:
    """The tagger of this Python process, so that the tasks that run in it one after the other use one `nerve-server tag`."""
    global _shared
    tagger = Tagger(options, program, cores)
    if _shared is None or (_shared.command, _shared.cores) != (tagger.command, tagger.cores):
        if _shared is not None:
            _shared.close()
        _shared = tagger
    return _shared


class _Process:
    """A running `nerve-server tag` that answers batches of one schema."""

    def __init__(self, command: Sequence[str], cores: int, schema: pa.Schema) -> None:
        self._name = command[0]
        self._schema = schema
        threads = dict.fromkeys(("NERVE_WORKERS", "NERVE_LONE_THREADS", "NERVE_TEXT_THREADS"), str(cores))
        try:
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**threads, **os.environ},
            )
        except OSError as error:
            raise TagError(f"cannot start {command[0]}: {error}. It must be on every worker; name it with `program`") from error
        assert self._child.stdin and self._child.stdout and self._child.stderr
        self._stdin, self._stdout, self._stderr = self._child.stdin, self._child.stdout, self._child.stderr
        self._writer: pa.RecordBatchStreamWriter | None = None
        self._answers: queue.SimpleQueue[pa.RecordBatch | None] = queue.SimpleQueue()
        self._output_error: Exception | None = None
        self._last_lines: deque[str] = deque(maxlen=ERROR_LINES)
        # Both pipes are always read, so that the process never waits for this one while this one waits for it.
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_answers, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def takes(self, schema: pa.Schema) -> bool:
        """Whether the process runs and answers batches of this schema."""
        return self._child.poll() is None and self._schema.equals(schema, check_metadata=True)

    def send(self, batch: pa.RecordBatch) -> None:
        """Writes a batch."""
        try:
            if self._writer is None:
                self._writer = pa.ipc.new_stream(self._stdin, self._schema)
            self._writer.write_batch(batch)
            self._stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def receive(self) -> pa.RecordBatch:
        """Waits for the answers to the oldest batch without answers."""
        answered = self._answers.get()
        if answered is None:
            raise self._failure()
        return answered

    def close(self) -> None:
        """Ends the process when all batches are answered."""
        try:
            if self._writer is not None:
                self._writer.close()
            self._stdin.close()
            self._child.wait(END_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def kill(self) -> None:
        """Ends the process at once."""
        self._child.kill()
        self._child.wait()
        for reader in self._readers:
            reader.join()

    def _read_answers(self) -> None:
        try:
            for answered in pa.ipc.open_stream(self._stdout):
                self._answers.put(answered)
        except (pa.ArrowException, OSError) as error:
            self._output_error = error
        finally:
            self._answers.put(None)

    def _read_errors(self) -> None:
        for line in self._stderr:
            text = line.decode(errors="replace").rstrip()
            self._last_lines.append(text)
            print(text, file=sys.stderr, flush=True)

    def _failure(self) -> TagError:
        """Why there are no more answers."""
        try:
            status = self._child.wait(END_SECONDS)
            ended = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        except subprocess.TimeoutExpired:
            ended = f"runs, but its output cannot be read ({self._output_error})"
        self.kill()
        return TagError("\n".join([f"{self._name} tag {ended} before it had answered all rows:", *self._last_lines]))
