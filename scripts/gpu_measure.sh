#!/usr/bin/env bash
# Measure a GPU and use the rest of the time for one long joint training:
#
#   scripts/gpu_measure.sh MINUTES [OUT]
#
# OUT (default build/gpu-measured) gets at most 4 files of 15 MB: tables.tar.gz with tables and logs, and
# policies.tar.NN with the policies. Given again with the same OUT, it goes on from there. A machine without
# a package index needs build/gpu-kit beside the sources (make gpu-kit). Each part has its own time limit, so
# that a failure in one still leaves the others. Work in progress is in build/gpu-work.
#
# Environment: SIZE (s), BATCH (64) and LABEL of the training, RECORD and TABLE seconds, WORLDS (100), WORKERS,
# MORE (further arguments of the training).
set -u
cd "$(dirname "$0")/.."
minutes=${1:?"usage: scripts/gpu_measure.sh MINUTES [OUT]"} # a whole number
out=${2:-build/gpu-measured}
work=build/gpu-work
begin=$(date +%s)
total=$((minutes * 60))
cores=$(nproc)
workers=${WORKERS:-$((cores > 2 ? cores - 1 : cores))}
mkdir -p "$work" "$out"
python=${PYTHON:-python3}
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
"$python" -c "import gymnasium, platformdirs, pydantic, zstandard" 2>/dev/null || PYTHONPATH="build/gpu-kit/site:$PYTHONPATH"
export OMP_NUM_THREADS=1 TORCHINDUCTOR_CACHE_DIR=$PWD/$work/inductor

left() { echo $((total - ($(date +%s) - begin))); }

# part NAME SECONDS [ARGUMENTS]: run a part and stop it when its time is over.
part() {
    local name=$1 limit=$2
    shift 2
    echo "== $name: at most $limit s, $(left) s left"
    [ "$limit" -gt 5 ] || return 0
    timeout -s INT -k 15 "$limit" "$python" scripts/gpu_measure.py "$name" --work "$work" --out "$out" \
        --workers "$workers" "$@" 2>&1 | tee -a "$work/$name.log"
    echo "   $name ended with ${PIPESTATUS[0]}"
}

part restore 60
# On all cores but one, until the training begins, however short the other parts are.
if ! [ -e "$work/recorded.csv" ]; then
    nohup "$python" scripts/gpu_measure.py record --work "$work" --workers "$workers" \
        --seconds "${RECORD:-$((total / 3))}" ${SHARD:+--shard "$SHARD"} >"$work/record.log" 2>&1 &
fi
part check 60
if ! [ -e "$work/tests.log" ]; then
    echo "== tests: at most 100 s, $(left) s left"
    timeout -k 5 100 "$python" -m pytest -m gpu -q -p no:cacheprovider tests/test_gpu.py 2>&1 | tail -n 60 |
        tee "$work/tests.log"
fi
table=${TABLE:-$((total / 4))}
part table "$table" --seconds $((table - 10))
part profile $((table / 2 < 30 ? table / 2 : 30)) --seconds 10
evaluation=$((total / 6 > 60 ? total / 6 : 60))
seconds=$(($(left) - evaluation - 25))
pkill -f "[g]pu_measure.py record --work $work" # training and rollouts need the cores
tail -n 1 "$work/record.log"
part train "$seconds" --seconds "$((seconds - 10))" --size "${SIZE:-s}" --batch "${BATCH:-64}" \
    --label "${LABEL:-}" ${MORE:-}
part evaluate $(($(left) - 20)) --seconds $(($(left) - 30)) --worlds "${WORLDS:-100}"
part figure 30
part collect 60
