#!/usr/bin/env bash
# All that only a GPU can show, in one go: the trainer's tests on CUDA, a compiled run with its metrics, and tokens/s and
# MFU beside transformers. Needs torch >= 2.11 with CUDA and the packages of pyproject.toml; nothing is installed.
#   bash benchmarks/gpu.sh [OUT]     results are copied to OUT
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-build/gpu}
mkdir -p "$out"
export PYTHONPATH=$PWD
python3 -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())'
GRISTMILL_TEST_CUDA=1 python3 -m pytest tests/trainer/test_cuda.py -q -rs 2>&1 | tee "$out/tests.log" | tail -15
python3 benchmarks/training_step.py --shapes 124m 1b --steps 20 2>&1 | tee "$out/training_step.log" | tail -20
cp benchmarks/results/training_step_gpu.json "$out/" 2>/dev/null
