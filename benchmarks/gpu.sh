#!/usr/bin/env bash
# What has to be known of a GPU, unattended, in under nine minutes:  benchmarks/gpu.sh OUT
# Tables go to OUT/*.txt, figures to OUT/*.json; what fails or takes too long is said at the end, and the rest goes on.
# `DEVICE=cpu SHORT=1 benchmarks/gpu.sh OUT` is its smallest form, for any machine. PYTHON: the interpreter.
set -u
out=$(mkdir -p "${1:?usage: benchmarks/gpu.sh OUT}" && cd "$1" && pwd)
cd "$(dirname "$0")/.."
device=${DEVICE:-cuda} python=${PYTHON:-python}
short=${SHORT:+--short --no-memory}
sizes=${SHORT:+tiny} sizes=${sizes:-small base}
failed=()

run() {  # NAME SECONDS COMMAND..
    local name=$1 limit=$2
    shift 2
    if timeout "$limit" "$@" > "$out/$name.txt" 2>&1; then echo "$name: done"; else
        echo "$name: failed ($?), see $out/$name.txt"
        failed+=("$name")
    fi
}

run devices 60 "$python" benchmarks/devices.py --device "$device" $short --json "$out/devices.json"
for precision in 32 bf16; do
    run "step_$precision" 140 "$python" benchmarks/pretraining_step.py --device "$device" --size $sizes $short \
        --precision "$precision" --positions made-up --rounds 3 --json "$out/step_$precision.json"
done
run attention 60 "$python" benchmarks/attention.py --device "$device" $short --rounds 3 --json "$out/attention.json"
run loader 50 "$python" benchmarks/loader.py $short --workers 0 2 --rounds 2 --json "$out/loader.json"
# two processes: one device has no room for two of NCCL's, so these compute on the CPU
printf 'smiles\n' > "$out/molecules.csv"
for k in $(seq 1 32); do printf 'C%.0s' $(seq 1 "$k") >> "$out/molecules.csv"; echo O >> "$out/molecules.csv"; done
run two_processes 80 "$python" -m torch.distributed.run --nproc-per-node 2 -m dgl_moleblend pretrain \
    "$out/molecules.csv" -o "$out/two_processes" --size tiny --epochs 1 --batch-size 8 --accelerator cpu --devices 2 --quiet

if ((${#failed[@]})); then
    echo "failed: ${failed[*]}"
    exit 1
fi
