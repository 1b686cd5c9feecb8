"""Compares gRPC with HTTP: texts per second of ModelInfer, /v2 and /ner at 32 connections, in turns on one server.

    python bench/compare_grpc.py --load /tmp/bench-load/release/nerve-load --texts .data/wnut17/test.conll
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]
from served import served  # noqa: E402
from serving.texts import corpus, write_lines  # noqa: E402

import urllib.request  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", type=pathlib.Path, required=True, help="the program nerve-load")
    parser.add_argument("--texts", type=pathlib.Path, required=True, help="a CoNLL file")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("options", nargs="*", help="further options of nerve-server, after --")
    arguments = parser.parse_args()
    texts = corpus(arguments.texts)
    with tempfile.TemporaryDirectory() as folder, served("--grpc-listen", "127.0.0.1:0", *arguments.options) as server:
        with urllib.request.urlopen(server.url + "/info") as answer:
            model = json.load(answer)["model"]["name"]
        ner, v2 = pathlib.Path(folder, "ner.jsonl"), pathlib.Path(folder, "v2.jsonl")
        write_lines(ner, ({"text": text} for text in texts))
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES"}
        write_lines(v2, ({"inputs": [tensor | {"data": [text]}]} for text in texts))
        http = server.url.removeprefix("http://")
        ways = {
            "/ner": ["--address", http, "--bodies", ner],
            "/v2": ["--address", http, "--bodies", v2, "--path", f"/v2/models/{model}/infer"],
            "gRPC": ["--address", server.grpc, "--bodies", ner, "--grpc", model],
        }
        rates = {way: [] for way in ways}
        for number in range(arguments.rounds):
            for way, options in ways.items():
                command = [arguments.load, *options, "--connections", str(arguments.connections)]
                command += ["--seconds", str(arguments.seconds)]
                found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                rates[way].append(found["throughput"])
                load = pathlib.Path("/proc/loadavg").read_text().split()[0]
                shown = f"{found['throughput']:.0f}/s, p50 {found['latency_ms']['p50']:.1f} ms, p99 {found['latency_ms']['p99']:.1f} ms"
                print(f"round {number + 1}: {way}: {shown}, {found['statuses']}, client {found['cpu_seconds']:.1f} s, load {load}", flush=True)
    for way in ("/ner", "/v2"):
        ratios = [ours / theirs for ours, theirs in zip(rates["gRPC"], rates[way])]
        print(f"gRPC / {way}: median {statistics.median(ratios):.2f} of {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


if __name__ == "__main__":
    main()
