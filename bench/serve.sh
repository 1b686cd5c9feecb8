#!/bin/sh
# Serves one model with nerve-server and with alternatives, puts each in turn under the same load, and prints throughput,
# latency, errors and memory of each, with ratios. bench/RESULTS.md contains the latest results and describes the columns.
#
#     bench/serve.sh DATA --checkpoint DIR [options: bench/serve.sh DATA --help]
#
# DATA contains train.conll, for int8 calibration, and test.conll, whose texts are sent. DIR is a Hugging Face token
# classifier. The peers come from PyPI into .venv-bench-serve, unless BENCH_VENV names a virtual environment that contains them.
set -eu
cd "$(dirname "$0")/.."
case " $* " in *" --help "* | *" -h "*) exec python3 bench/serving/options.py --help ;; esac
python3 bench/serving/options.py "$@"
if [ -z "${BENCH_VENV:-}" ]; then
    BENCH_VENV=.venv-bench-serve
    if [ ! -e $BENCH_VENV/installed ] || [ bench/serve-requirements.txt -nt $BENCH_VENV/installed ]; then
        python3 -m venv $BENCH_VENV
        $BENCH_VENV/bin/pip install --quiet --disable-pip-version-check --requirement bench/serve-requirements.txt
        touch $BENCH_VENV/installed
    fi
fi
make --silent onnxruntime
cargo build --locked --release --workspace --bins
cargo bench --quiet --locked --workspace --bench raw --no-run
cargo build --locked --release --manifest-path bench/load/Cargo.toml --target-dir target/bench-load
exec "$BENCH_VENV/bin/python" bench/serve.py "$@"
