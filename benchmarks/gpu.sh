#!/usr/bin/env bash
# Checks that need a GPU: the trainer's tests on CUDA, a compiled run in bf16 with its metrics, and tokens/s and MFU
# compared with transformers. Needs torch >= 2.11 with CUDA and the packages of pyproject.toml; installs nothing.
# If one part fails, the others still run, and the exit status is 1.
#   bash benchmarks/gpu.sh [OUT]     results are copied to OUT (default: build/gpu)
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/build/gpu}
mkdir -p "$out" && out=$(cd "$out" && pwd) && cd "$root" || exit 1
export PYTHONPATH=$root
python3 -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())' || exit 1  # without CUDA the tests would skip

failed=()
part() {  # NAME COMMAND…: run the command and write its output to OUT/NAME.log
    local name=$1
    shift
    "$@" 2>&1 | tee "$out/$name.log" | tail -20 || { failed+=("$name"); return 1; }
}

# Delete the results of an earlier run.
rm -f "$out"/{tests,compiled_run,training_step}.log "$out"/{metrics,evaluations}.jsonl "$out"/training_step_gpu.json
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

compiled_run() {
    python3 - "$scratch" <<'END' || return 1
import sys
from pathlib import Path

from tests.end_to_end.training import write_config

model = {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 192, "rope_theta": 10000}  # heads of 32
parallel = {"precision": "bf16", "compile": True, "micro_batch_sequences": 2}
write_config(Path(sys.argv[1]), model=model, parallel=parallel)
END
    python3 -m trainer fit --config "$scratch/train.yaml"
}

GRISTMILL_TEST_CUDA=1 part tests python3 -m pytest tests/trainer/test_cuda.py -q -rs
part compiled_run compiled_run
cp "$scratch"/run/{metrics,evaluations}.jsonl "$out/" 2>/dev/null
part training_step python3 benchmarks/training_step.py --shapes 124m 1b --steps 20 &&
    cp benchmarks/results/training_step_gpu.json "$out/"

if ((${#failed[@]})); then
    echo "failed: ${failed[*]}; see OUT/NAME.log in $out"
    exit 1
fi
