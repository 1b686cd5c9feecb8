#!/bin/sh
# Trains the same model on the same corpus with nerve-trainer and with PyTorch in turn, in f32 and, where the processor has AVX-512
# BF16, in bf16 (PyTorch: autocast). Prints seconds per epoch, peak memory and entity F1 on dev (after the last epoch,
# unconstrained decoding) of both, and the ratio of their speeds.
#
#     bench/train.sh DATA BASE [repetitions, 3] [epochs, 1] [further options of bench/train.py]
#
# DATA contains train.conll and dev.conll; BASE is a Hugging Face directory. PyTorch and transformers come from PyPI into
# .venv-bench, unless BENCH_VENV names a virtual environment that has them.
set -eu
cd "$(dirname "$0")/.."
data=$1 base=$2 repetitions=${3:-3} epochs=${4:-1}
[ $# -le 4 ] && set -- || shift 4
if [ -z "${BENCH_VENV:-}" ]; then
    BENCH_VENV=.venv-bench
    [ -x $BENCH_VENV/bin/python ] || python3 -m venv $BENCH_VENV
    $BENCH_VENV/bin/pip install --quiet --requirement bench/train-requirements.txt
fi
cargo build --locked --release --workspace --bins
exec "$BENCH_VENV/bin/python" bench/train.py --data "$data" --base "$base" \
    --repetitions "$repetitions" --epochs "$epochs" "$@"
