"""Runs each fuzz target for a limited time and prints a table. The exit status is 1 if there are findings.

    fuzz/run.py [--seconds 60] [TARGET ...]

Requires cargo-fuzz. Each target starts with the inputs in fuzz/seeds and those that earlier runs stored in fuzz/corpus, which git
ignores.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tomllib

FUZZ = pathlib.Path(__file__).resolve().parent
DICTIONARIES = {"requests": "requests", "lines": "requests", "tokenizer": "json", "config": "json", "manifest": "json"}
# Limits for one input: seconds, and MiB of the process. To exceed one is a finding.
TIMEOUT_SECONDS, MEMORY_MIB = 20, 2048
# Stable Rust has no sanitizers, and the code is safe Rust. Coverage works without one.
CARGO_FUZZ = ["cargo", "fuzz"]
STABLE = ["--sanitizer", "none"]


def targets():
    return [binary["name"] for binary in tomllib.loads((FUZZ / "Cargo.toml").read_text())["bin"]]


def artifacts(target):
    return {path for path in (FUZZ / "artifacts" / target).glob("*") if path.is_file()}


def fuzz(target, seconds):
    """Runs a target. Returns its executions, its coverage and its new findings."""
    corpus = FUZZ / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    before = artifacts(target)
    command = [*CARGO_FUZZ, "run", *STABLE, target, corpus, FUZZ / "seeds" / target, "--"]
    command += [f"-max_total_time={seconds}", "-print_final_stats=1", f"-timeout={TIMEOUT_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}"]
    if target in DICTIONARIES:
        command.append(f"-dict={FUZZ / 'dictionaries' / DICTIONARIES[target]}.dict")
    ran = subprocess.run(command, cwd=FUZZ.parent, stderr=subprocess.PIPE, text=True, errors="replace")
    executions = re.findall(r"stat::number_of_executed_units: (\d+)", ran.stderr)
    coverage = re.findall(r"cov: (\d+)", ran.stderr)
    found = artifacts(target) - before
    if ran.returncode != 0 or not executions:
        sys.stderr.write(ran.stderr[-8000:])
    if ran.returncode != 0 and not found:
        sys.exit(f"{target} ended with status {ran.returncode} and without a finding")
    return int(executions[-1]) if executions else 0, int(coverage[-1]) if coverage else 0, found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"targets to run, out of {', '.join(targets())} [default: all]")
    parser.add_argument("--seconds", type=int, default=60, help="duration of each target [default: 60]")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(targets()):
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}; choose from {', '.join(targets())}")
    subprocess.run([*CARGO_FUZZ, "build", *STABLE], cwd=FUZZ.parent, check=True)
    rows, findings = [], set()
    for target in options.targets or targets():
        seeds = len(list((FUZZ / "seeds" / target).iterdir()))
        executions, coverage, found = fuzz(target, options.seconds)
        rows.append((target, seeds, options.seconds, executions, coverage, len(found)))
        findings |= found
        print(f"{target}: {executions} executions, {len(found)} findings", file=sys.stderr)
    print(f"{'target':12} {'seeds':>6} {'seconds':>8} {'executions':>11} {'edges':>7} {'findings':>9}")
    for target, seeds, seconds, executions, coverage, found in rows:
        print(f"{target:12} {seeds:>6} {seconds:>8} {executions:>11} {coverage:>7} {found:>9}")
    for finding in sorted(findings):
        print(f"finding: {finding.relative_to(FUZZ.parent)}")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
