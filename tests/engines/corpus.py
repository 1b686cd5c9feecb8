"""A Parquet data set of texts, the answers of one `nerve-server tag` to it, and the comparison with those of an engine."""

import dataclasses
import datetime
import os
import pathlib
import random
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = os.environ.get("NERVE_SERVER", str(REPOSITORY / "target" / "release" / "nerve-server"))
# Some texts of the data set exceed the limit, and are answered with an error.
COLUMN = ["--text-column", "body", "--max-text-bytes", "4096"]
OPTIONS = ["--model", str(REPOSITORY / "models" / "default"), *COLUMN]

NAMES = ["Zoë Müller", "Barack Obama", "Beyoncé", "the Bank of England", "Google", "石田 真", "Ada Lovelace 👩‍💻"]
PLACES = ["New York", "São Paulo", "Köln", "Москва", "Lake Erie"]
VERBS = ["met", "wrote about", "works for", "saw a picture of", "did not call"]


def body(number, dice):
    """The text of a row: a few sentences, or one of the cases that are easily lost."""
    if number % 500 == 7:
        return None
    if number % 500 == 8:
        return ""
    if number % 500 == 9:
        return "too long " * 600
    sentence = lambda: f"{dice.choice(NAMES)} {dice.choice(VERBS)} {dice.choice(NAMES)} in {dice.choice(PLACES)}, as usual ."  # noqa: E731
    return f"{number}: " + " ".join(sentence() for _ in range(dice.randint(1, 4)))


def write(folder, files, rows):
    """Writes a data set of texts beside columns of other types."""
    folder.mkdir(parents=True)
    dice = random.Random(1)
    for file in range(files):
        numbers = range(file * rows, (file + 1) * rows)
        day = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
        table = pa.table({
            "id": pa.array(numbers, pa.int64()),
            "body": pa.array([body(number, dice) for number in numbers], pa.string()),
            "seen": pa.array([day + datetime.timedelta(seconds=number) for number in numbers], pa.timestamp("us", "UTC")),
            "raw": pa.array([None if number % 3 else bytes([number % 256]) for number in numbers], pa.binary()),
            "tags": pa.array([["a", None][: number % 3] for number in numbers], pa.list_(pa.string())),
            "source": pa.array([{"name": str(number), "rank": number / 3} for number in numbers],
                               pa.struct([("name", pa.string()), ("rank", pa.float64())])),
        })
        pq.write_table(table, folder / f"{file:03}.parquet")


def answers_of_one_machine(folder, work):
    """What one `nerve-server tag` answers for all files of a data set, as rows by id."""
    whole, answered = work / "whole.arrows", work / "answered.arrows"
    texts = pq.read_table(folder)
    with pa.ipc.new_stream(whole, texts.schema) as stream:
        stream.write_table(texts)
    command = [PROGRAM, "tag", str(whole), "--input", "arrow", "--output", "arrow", "--out", str(answered), *OPTIONS]
    outcome = subprocess.run(command, capture_output=True, text=True)
    # Status 1: a row failed.
    assert outcome.returncode == 1 and answered.exists(), outcome.stderr
    rows = {row["id"]: row for row in pa.ipc.open_stream(answered.read_bytes()).read_all().to_pylist()}
    assert any(row["error"] for row in rows.values()) and any(row["entities"] for row in rows.values())
    return rows


@dataclasses.dataclass
class Comparison:
    """How the rows of an output differ from those of one machine."""

    rows: int
    duplicates: int
    lost: int
    different: int

    def __str__(self):
        return f"{self.rows} rows, {self.duplicates} duplicates, {self.lost} lost, {self.different} different"

    def exact(self):
        return (self.duplicates, self.lost, self.different) == (0, 0, 0)


def compare(output, expected):
    """Compares the Parquet files of an output folder with the rows expected."""
    rows = pq.read_table(output).to_pylist()
    by_id = {row["id"]: row for row in rows}
    return Comparison(
        rows=len(rows),
        duplicates=len(rows) - len(by_id),
        lost=len(expected.keys() - by_id.keys()),
        different=sum(row != expected.get(row["id"]) for row in by_id.values()),
    )
