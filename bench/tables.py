"""Measures `nerve-server tag` on the same texts as JSON lines, an Arrow stream and a Parquet file, and its peak memory on a large Parquet file.

    python bench/tables.py DATA [--rows 40000] [--rounds 5] [--server target/release/nerve-server] [options of nerve-server tag]
    python bench/tables.py DATA --gigabytes 5 [--row-group-rows 1000000]

DATA contains the files of WNUT-17. The formats run in turn in each round, and only in a warm-up run before; a rate is rows by the
time of the whole process less that of one with a single row, and a ratio is the median over rounds of the rate by that of JSON
lines in the same round. With --gigabytes, the file has texts and random bytes of 100 kB in each row, in row groups of
--row-group-rows; with --payload 0, texts alone. Needs pyarrow (bench/tables-requirements.txt).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from serving.texts import corpus

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILE_PART_BYTES = 64 << 20


def run(server, options, *arguments):
    """Runs `tag` until it ends. Returns its seconds and its peak memory in bytes."""
    began = time.monotonic()
    process = subprocess.Popen([server, "tag", *map(str, arguments), *options], stdout=subprocess.DEVNULL)
    peak = 0
    # The peak that wait4 reports counts this process too, from before the program was executed.
    while process.poll() is None:
        lines = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
        peak = max([peak] + [int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")])
        time.sleep(0.01)
    if process.returncode:
        raise SystemExit(f"nerve-server tag {arguments} exited with status {process.returncode}")
    return time.monotonic() - began, peak


def write_inputs(folder, texts):
    """The input and the output of each format for these texts."""
    table = pyarrow.table({"id": range(len(texts)), "text": texts})
    with open(folder / "in.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": id, "text": text}) + "\n" for id, text in enumerate(texts))
    with pyarrow.ipc.new_stream(folder / "in.arrows", table.schema) as stream:
        stream.write_table(table, max_chunksize=1024)
    pyarrow.parquet.write_table(table, folder / "in.parquet")
    return {extension: (folder / f"in.{extension}", "--out", folder / f"out.{extension}") for extension in ("jsonl", "arrows", "parquet")}


def compare(options, rest):
    """Prints the rates of the formats and their ratios to JSON lines."""
    texts = list(corpus(options.data / "test.conll"))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = pathlib.Path(folder)
        (folder / "one").mkdir()
        many = write_inputs(folder, [texts[row % len(texts)] for row in range(options.rows)])
        one = write_inputs(folder / "one", texts[:1])
        start = {name: min(run(options.server, rest, *files)[0] for _ in range(3)) for name, files in one.items()}
        rates = {name: [] for name in many}
        for _ in range(options.rounds):
            for name, files in many.items():
                seconds, _ = run(options.server, rest, *files)
                rates[name].append((options.rows - 1) / (seconds - start[name]))
    ratios = {name: [rate / lines for rate, lines in zip(of, rates["jsonl"])] for name, of in rates.items()}
    for name, of in rates.items():
        print(f"{name:8} {statistics.median(of):8.0f} rows/s  {statistics.median(ratios[name]):.3f} of JSON lines ({min(ratios[name]):.3f} to {max(ratios[name]):.3f})")


def watch_memory(options, rest):
    """Prints the rate and the peak memory on a large file."""
    texts = list(corpus(options.data / "test.conll"))
    schema = pyarrow.schema([("text", pyarrow.string()), ("payload", pyarrow.binary())])
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file, rows = pathlib.Path(folder, "in.parquet"), 0
        part = min(10_000, max(1, FILE_PART_BYTES // max(options.payload, 1)))
        with pyarrow.parquet.ParquetWriter(file, schema, compression="none", use_dictionary=False, write_batch_size=16) as writer:
            group = []
            while file.stat().st_size + sum(batch.nbytes for batch in group) < options.gigabytes * 1e9:
                payload = [os.urandom(options.payload) for _ in range(part)]
                text = [texts[(rows + row) % len(texts)] for row in range(part)]
                group.append(pyarrow.record_batch([text, payload], schema=schema))
                rows += part
                if sum(map(len, group)) >= options.row_group_rows:
                    writer.write_table(pyarrow.Table.from_batches(group), row_group_size=options.row_group_rows)
                    group = []
            if group:
                writer.write_table(pyarrow.Table.from_batches(group), row_group_size=options.row_group_rows)
        groups = pyarrow.parquet.ParquetFile(file).num_row_groups
        seconds, peak = run(options.server, rest, file, "--out", pathlib.Path(folder, "out.parquet"))
        written = pyarrow.parquet.ParquetFile(pathlib.Path(folder, "out.parquet")).metadata
        assert written.num_rows == rows, (written.num_rows, rows)
        size = file.stat().st_size / 1e9
    print(
        f"{size:.2f} GB, {rows} rows in {groups} row groups: {seconds:.0f} s, peak memory {peak / 2**20:.0f} MiB; "
        f"the output has {written.num_row_groups} row groups"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float)
    parser.add_argument("--payload", type=int, default=100_000)
    parser.add_argument("--row-group-rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=pathlib.Path, help="where files are written [default: the system's]")
    parser.add_argument("--server", default=ROOT / "target/release/nerve-server")
    options, rest = parser.parse_known_args()
    if options.gigabytes:
        watch_memory(options, rest)
    else:
        compare(options, rest)


if __name__ == "__main__":
    main()
