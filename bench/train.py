"""Trains with nerve-trainer and PyTorch in turn on the same batches, in f32 and in bf16. Prints duration, memory and F1."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def measured(command):
    """The duration of a command in seconds and its peak memory in MiB. The command must succeed."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} failed with status {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - began, usage.ru_maxrss / 1024


def dev_f1(arguments, predicted):
    """The entity F1 of predictions on dev, in CoNLL format, by the scorer that is used for both programs."""
    score = subprocess.run(
        [arguments.binaries / "nerve-trainer", "score", "--json", "--gold", arguments.data / "dev.conll", "--pred", predicted],
        check=True, capture_output=True,
    )
    return json.loads(score.stdout)["entity"]["f1"]


def precisions():
    """The precisions that nerve-trainer has on this processor."""
    has_bf16 = "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text()
    return ["f32", "bf16"] if has_bf16 else ["f32"]


def nerve(arguments, out, seed, precision):
    command = [
        arguments.binaries / "nerve-trainer", "train", "--data", arguments.data, "--base", arguments.base, "--out", out,
        "--epochs", str(arguments.epochs), "--seed", str(seed), "--threads", str(arguments.threads), "--reports=false",
        "--batch-size", str(arguments.batch_size), f"--group-by-length={str(arguments.group_by_length).lower()}",
        "--precision", precision,
    ]
    _, memory = measured(command)
    seconds = [json.loads(line)["seconds"] for line in (out / "timings.jsonl").read_text().splitlines()]
    predicted = out / "dev.conll"
    # Unconstrained, as in train_pytorch.py: each word has its most probable label.
    tag = [
        arguments.binaries / "nerve-trainer", "tag", "--checkpoint", out / "last", "--unconstrained", "--input", "conll",
        "--output", "conll", arguments.data / "dev.conll",
    ]
    with predicted.open("wb") as file:
        subprocess.run(tag, check=True, stdout=file)
    return {"seconds": statistics.mean(seconds), "memory": memory, "f1": dev_f1(arguments, predicted)}


def batches(run, epochs):
    """The batches of each epoch of a nerve-trainer run. A batch is a list of the lines on which its sentences start."""
    steps = [json.loads(line)["lines"] for line in (run / "steps.jsonl").read_text().splitlines()]
    steps_per_epoch = len(steps) // epochs
    return [steps[at : at + steps_per_epoch] for at in range(0, len(steps), steps_per_epoch)]


def pytorch(arguments, out, seed, precision):
    report = out / "pytorch.json"
    out.mkdir()
    order = out / "batches.json"
    order.write_text(json.dumps(batches(out.parent / f"nerve-{precision}-{seed}", arguments.epochs)))
    command = [
        sys.executable, ROOT / "bench/train_pytorch.py", "--data", arguments.data, "--base", arguments.base, "--out", out,
        "--batches", order, "--seed", str(seed), "--threads", str(arguments.threads), "--precision", precision,
    ]
    _, memory = measured(command)
    seconds = json.loads(report.read_text())["seconds"]
    last = out / f"dev-{arguments.epochs}.conll"
    return {"seconds": statistics.mean(seconds), "memory": memory, "f1": dev_f1(arguments, last)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first repetition; each further one adds 1")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--group-by-length", action="store_true")
    parser.add_argument("--precision", nargs="+", choices=["f32", "bf16"], default=precisions(), help="default: those of this processor")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for seed in range(arguments.seed, arguments.seed + arguments.repetitions):
            for precision in arguments.precision:
                found = {"seed": seed, "precision": precision}
                for name, run in (("nerve", nerve), ("pytorch", pytorch)):
                    out = pathlib.Path(work) / f"{name}-{precision}-{seed}"
                    found[name] = run(arguments, out, seed, precision)
                rows.append(found)
                ratio = found["pytorch"]["seconds"] / found["nerve"]["seconds"]
                print(f"seed {seed}, {precision}: {ratio:.2f} x", file=sys.stderr)
    print(f"{'seed':6}{'precision':11}{'nerve s':>9}{'pytorch s':>11}{'speed':>8}{'nerve MiB':>11}{'pytorch MiB':>13}{'nerve F1':>10}{'pytorch F1':>12}")
    for found in rows:
        ours, theirs = found["nerve"], found["pytorch"]
        print(
            f"{found['seed']:<6}{found['precision']:11}{ours['seconds']:9.1f}{theirs['seconds']:11.1f}"
            f"{theirs['seconds'] / ours['seconds']:7.2f}x{ours['memory']:11.0f}{theirs['memory']:13.0f}"
            f"{100 * ours['f1']:10.2f}{100 * theirs['f1']:12.2f}"
        )
    print("F1: entity F1 on dev after the last epoch, unconstrained decoding, the same scorer for both")
    print("bf16: nerve-trainer train --precision bf16; PyTorch's autocast on the CPU")
    for precision in arguments.precision:
        of_precision = [found for found in rows if found["precision"] == precision]
        ratios = sorted(found["pytorch"]["seconds"] / found["nerve"]["seconds"] for found in of_precision)
        print(f"{precision}: median speed {statistics.median(ratios):.2f}x, range {ratios[0]:.2f}x to {ratios[-1]:.2f}x")
    seconds = {(found["seed"], found["precision"]): found["nerve"]["seconds"] for found in rows}
    gains = [seconds[seed, "f32"] / of_run for (seed, precision), of_run in seconds.items() if precision == "bf16" and (seed, "f32") in seconds]
    if gains:
        print(f"nerve-trainer in bf16: {statistics.median(gains):.2f}x its own f32")


if __name__ == "__main__":
    main()
