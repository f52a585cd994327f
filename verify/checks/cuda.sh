#!/usr/bin/env bash
# Everything that is worth knowing about a CUDA device, in eight minutes, from a binary that was
# built elsewhere: neither cargo nor a network is used. PyTorch with transformers and peft is the
# peer (reports/peers) where they are installed; without them its rows say "not run".
#
#   verify/checks/cuda.sh --binary inducer.xz --out out/cuda
#   verify/checks/cuda.sh --device cpu --preset tiny --quick        # the same without a card
#
# The script goes on after a failure, says at the end what failed, and then exits with status 1. It
# writes OUT/cuda.json and OUT/cuda.md after every step, so that a run which is cut off leaves what
# it has found; the outputs themselves lie in OUT/raw.
#
#   --binary FILE    the program, also as .gz or .xz  [inducer beside this script or here, else
#                    target/release/inducer]
#   --device D       cuda or cpu                      [cuda]
#   --preset P       gpt2, mini or tiny               [gpt2]
#   --out DIR        where the results go             [out-cuda]
#   --only STEP,...  device, verify, methods, resume, rate, bench, decode, more  [all, so ordered]
#   --python PYTHON  with torch, transformers and peft where there is one  [python3]
#   --budget S       seconds; later steps are "not run (time)"  [480]
#   --cases N        random cases of a claim          [16, with --quick 4]
#   --quick          fewer cases, steps and sizes
#   --all            another form of the peer's inducer too, and 1,800 seconds where no budget is given
set -uo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PEERS=$(cd "$HERE/../../reports/peers" 2>/dev/null && pwd || echo "$HERE")
COMMAND="cuda.sh $*"

BINARY='' DEVICE=cuda PRESET=gpt2 OUT=out-cuda ONLY='' PYTHON=python3 BUDGET=''
QUICK='' ALL='' CASES=''
usage() {
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
    exit "$1"
}
while [ $# -gt 0 ]; do
    case $1 in
    --quick) QUICK=1 && shift && continue ;;
    --all) ALL=1 && shift && continue ;;
    -h | --help) usage 0 ;;
    esac
    [ $# -ge 2 ] || usage 2
    case $1 in
    --binary) BINARY=$2 ;;
    --device) DEVICE=$2 ;;
    --preset) PRESET=$2 ;;
    --out) OUT=$2 ;;
    --only) ONLY=$2 ;;
    --python) PYTHON=$2 ;;
    --budget) BUDGET=$2 ;;
    --cases) CASES=$2 ;;
    *) usage 2 ;;
    esac
    shift 2
done
BUDGET=${BUDGET:-$([ -n "$ALL" ] && echo 1800 || echo 480)}
case $DEVICE in cuda | cpu) ;; *) usage 2 ;; esac
case $PRESET in gpt2 | mini | tiny) ;; *) usage 2 ;; esac

# --- What everything needs -----------------------------------------------------------------------

die() {
    echo "cuda.sh: $*" >&2
    exit 2
}
command -v "$PYTHON" >/dev/null || die "--python $PYTHON: not found"
if [ -z "$BINARY" ]; then
    for file in "$HERE"/inducer{,.xz,.gz} ./inducer{,.xz,.gz} \
        "$HERE/../../target/release/inducer"; do
        [ -f "$file" ] && BINARY=$file && break
    done
fi
[ -f "$BINARY" ] || die "no binary: give --binary FILE (inducer, inducer.xz or inducer.gz)"
mkdir -p "$OUT" || die "--out $OUT: cannot be made"
OUT=$(cd "$OUT" && pwd)
RAW=$OUT/raw
rm -rf "$RAW" && mkdir -p "$RAW"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM

case $BINARY in
*.gz) gzip -dc "$BINARY" >"$WORK/inducer" || die "$BINARY: cannot be unpacked" ;;
*.xz)
    # xz is not everywhere
    { xz -dc "$BINARY" 2>/dev/null || "$PYTHON" -m lzma -d <"$BINARY" 2>/dev/null ||
        "$PYTHON" -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$BINARY"; } \
        >"$WORK/inducer" || die "$BINARY: cannot be unpacked"
    ;;
*) cp "$BINARY" "$WORK/inducer" || die "$BINARY: cannot be read" ;;
esac
chmod +x "$WORK/inducer"
export INDUCER_CACHE=$WORK/cache

report() { "$PYTHON" -B "$HERE/cuda_report.py" "$@"; }
# cudart, cublas, cublasLt and curand as PyTorch's wheels bring them
LIBRARIES=$(report libraries)
LIBRARIES=${LIBRARIES}${LD_LIBRARY_PATH:+${LIBRARIES:+:}$LD_LIBRARY_PATH}
INDUCER=(env "LD_LIBRARY_PATH=$LIBRARIES" "$WORK/inducer")

TORCH='' TRANSFORMERS=''
"$PYTHON" -c 'import torch' 2>/dev/null && TORCH=1
[ -n "$TORCH" ] && "$PYTHON" -c 'import transformers' 2>/dev/null && TRANSFORMERS=1

CORES=$(getconf _NPROCESSORS_ONLN)
# a row of the sizes: rows and length of the longest one
WIDE=(32 512) LONG=(8 1024) TIMED=(--warmup 3 --steps 8) SIDE=8192 DECODED=(8 64 40)
STEPS=50
if [ "$DEVICE" = cpu ]; then
    WIDE=(4 64) LONG=(2 128) TIMED=(--warmup 1 --steps 3) SIDE=1024 DECODED=(2 16 8)
fi
if [ -n "$QUICK" ]; then
    STEPS=10 TIMED=(--warmup 1 --steps 3)
fi
CASES=${CASES:-$([ -n "$QUICK" ] && echo 4 || echo 16)}
report begin "$OUT" --command "$COMMAND" --device "$DEVICE" --preset "$PRESET" \
    --torch "${TORCH:-0}" --transformers "${TRANSFORMERS:-0}" --steps "$STEPS" \
    --binary "$WORK/inducer" || die "no report"

# --- Steps and jobs ------------------------------------------------------------------------------

END=$BUDGET
now() { echo "${EPOCHREALTIME/,/.}"; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

# job NAME LIMIT inducer|python|COMMAND ...: outputs go to RAW/NAME.{out,err}, and the job's status,
# time and command line into RAW/jobs.tsv; status "time" where none was left.
job() {
    local name=$1 limit=$2 status=time start
    shift 2
    local line="$*"
    line=${line//"$HERE/"/}
    case $1 in
    inducer) shift && set -- "${INDUCER[@]}" "$@" ;;
    python) shift && set -- "$PYTHON" -B "$@" ;;
    esac
    start=$(now)
    [ $((END - SECONDS)) -lt "$limit" ] && limit=$((END - SECONDS))
    if [ "$limit" -ge 2 ]; then
        timeout -k 5 "$limit" "$@" >"$RAW/$name.out" 2>"$RAW/$name.err"
        status=$?
    fi
    printf '%s\t%s\t%s\t%s\n' "$name" "$status" "$(since "$start")" "${line//"$PEERS/"/}" \
        >>"$RAW/jobs.tsv"
    [ "$status" = 0 ]
}

# The memory in use on the card while a job runs, in MiB, in RAW/NAME.mem: the first line is before.
watched() {
    local name=$1 watcher=''
    if [ "$DEVICE" = cuda ] && command -v nvidia-smi >/dev/null; then
        nvidia-smi -i "${CARD:-0}" --query-gpu=memory.used --format=csv,noheader,nounits \
            -lms 200 >"$RAW/$name.mem" 2>/dev/null &
        watcher=$!
        sleep 0.3
    fi
    job "$@"
    local status=$?
    if [ -n "$watcher" ]; then
        kill "$watcher" 2>/dev/null
        wait "$watcher" 2>/dev/null
    fi
    return $status
}
CARD=${CUDA_VISIBLE_DEVICES:-0}
CARD=${CARD%%,*}

# step NAME LIMIT: runs the function step_NAME, and says in a line what came out.
step() {
    local name=$1 limit=$2 start took=time
    if [ -n "$ONLY" ] && [[ ",$ONLY," != *",$name,"* ]]; then
        return
    fi
    start=$(now)
    if [ $((BUDGET - SECONDS)) -ge 5 ]; then
        END=$((SECONDS + limit < BUDGET ? SECONDS + limit : BUDGET))
        "step_$name"
        took=$(since "$start")
    fi
    printf '%s\t%s\n' "$name" "$took" >>"$RAW/steps.tsv"
    report write "$OUT" --say "$name"
}

# --- 1: device and driver ------------------------------------------------------------------------

step_device() {
    job libraries 10 env "LD_LIBRARY_PATH=$LIBRARIES" ldd "$WORK/inducer"
    job version 10 inducer --version
    if [ "$DEVICE" = cuda ]; then
        job card 20 nvidia-smi -i "$CARD" --format=csv,noheader \
            --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit
    fi
}

# --- 2: the ledger -------------------------------------------------------------------------------

step_verify() {
    local engine=cuda
    [ "$DEVICE" = cpu ] && engine=emulated
    job verify 150 inducer verify --device "$DEVICE" --engine "$engine" --cases "$CASES" --json
}

# --- 3: twelve methods beside the CPU ------------------------------------------------------------

METHODS=(full bitfit adapter lora prefix mam-adapter adaptive extension gating inducer
    inducer-lora mam-inducer)

# A tiny backbone and generated data, once.
prepare() {
    [ -d "$WORK/backbone" ] && return
    report data "$WORK" &&
        job backbone 60 inducer pretrain --text "$WORK/prose.txt" --out "$WORK/backbone" \
            --vocabulary 300 --layers 2 --hidden 64 --heads 2 --positions 256 --length 64 \
            --batch-size 4 --steps 20 --threads 2
}

# train NAME METHOD STEPS DEVICE ...: the arguments of a training.
train() {
    echo train --data "$WORK/webnlg" --backbone "$WORK/backbone" --method "$2" --steps "$3" \
        --device "$4" --out "$WORK/runs/$1" --batch-size 8 --warmup 5 --learning-rate 1e-3 \
        --test-limit 1 --max-new-tokens 2 --seed 1 "${@:5}"
}

# trained NAME METHOD STEPS DEVICE ...: a training, and its metrics in RAW.
trained() {
    local arguments
    read -ra arguments <<<"$(train "$@")"
    job "train-$1" 60 inducer "${arguments[@]}"
    cp "$WORK/runs/$1/metrics.jsonl" "$RAW/train-$1.jsonl" 2>/dev/null
}

# side_by_side COMMANDS...: each in the background, as many at a time as fit.
side_by_side() {
    local most=$((CORES / 2)) line
    [ "$most" -lt 1 ] && most=1
    [ "$most" -gt 6 ] && most=6
    for line in "$@"; do
        while [ "$(jobs -rp | wc -l)" -ge "$most" ]; do
            wait -n
        done
        # shellcheck disable=SC2086 # a line is words
        $line &
    done
    wait
}

step_methods() {
    prepare || return
    local method lines=()
    for method in "${METHODS[@]}"; do
        lines+=("trained $method-f32 $method $STEPS cpu --dropout 0.1 --threads 2"
            "trained $method-device $method $STEPS $DEVICE --dropout 0.1 --threads 1"
            "trained $method-f64 $method $STEPS cpu --dropout 0.1 --threads 2 --dtype f64")
    done
    # the control: almost the same masks, for no more steps than the warm-up allows
    lines+=("trained control inducer 5 cpu --dropout 0.101 --threads 2")
    side_by_side "${lines[@]}"
}

# --- 4: kill and resume --------------------------------------------------------------------------

# The run's line of this step is in its metrics.
reached() { grep -qs "\"step\":$2[,}]" "$WORK/runs/$1/metrics.jsonl"; }

# The adapters of two finished runs, byte by byte.
same() {
    local a=$WORK/runs/$1 b=$WORK/runs/$2 file
    [ -f "$a/result.json" ] && [ -f "$b/result.json" ] || { echo missing && return; }
    for file in "$a"/adapter/*.safetensors "$a"/best/*.safetensors; do
        cmp -s "$file" "${file/"$a"/"$b"}" || { echo "differs: ${file#"$a/"}" && return; }
    done
    echo same
}

# killed NAME METHOD STEPS DEVICE ...: starts a training, kills it at a step behind a checkpoint.
killed() {
    local name=$1 arguments process until_=$((SECONDS + 60))
    read -ra arguments <<<"$(train "$@")"
    "${INDUCER[@]}" "${arguments[@]}" >"$RAW/train-$name.killed.out" 2>&1 &
    process=$!
    until reached "$name" "$KILL_AT" || ! kill -0 "$process" 2>/dev/null ||
        [ "$SECONDS" -ge "$until_" ]; do
        sleep 0.01
    done
    { kill -KILL "$process" && wait "$process"; } 2>/dev/null
    cp "$WORK/runs/$name/metrics.jsonl" "$RAW/train-$name.killed.jsonl" 2>/dev/null
    [ -f "$WORK/runs/$name/checkpoint/state.safetensors" ] &&
        [ ! -f "$WORK/runs/$name/result.json" ] && [ ! -d "$WORK/runs/$name/adapter" ]
}

# One method in one precision: two whole runs, and one that is killed and goes on.
resume() {
    local method=$1 dtype=$2 name=$1-$2 kill=no steps=$((STEPS * 6))
    local how=("$method" "$steps" "$DEVICE" --dropout 0.1 --threads 2 --dtype "$dtype"
        --checkpoint-every 10)
    killed "$name-c" "${how[@]}" && kill=killed
    side_by_side "trained $name-a ${how[*]}" "trained $name-b ${how[*]}" \
        "trained $name-c ${how[*]}"
    printf '%s\t%s\t%s\t%s\t%s\n' "$method" "$dtype" "$kill" "$(same "$name-a" "$name-b")" \
        "$(same "$name-a" "$name-c")" >>"$RAW/resume.tsv"
}

KILL_AT=13
step_resume() {
    prepare || return
    resume mam-inducer f32
    resume full f32
    [ "$DEVICE" = cuda ] && [ -z "$QUICK" ] && resume full bf16
    [ "$DEVICE" = cuda ] && resume inducer bf16
}

# --- 5: training steps beside the peer -----------------------------------------------------------

# ours METHOD DTYPE ROWS LENGTH
ours() {
    local length=$4
    # a prefix of 108 takes positions of the backbone's 1,024
    [ "$1" = prefix ] && [ "$length" -gt 916 ] && length=916
    watched "bench-ours-$1-$2-$3x$4" 60 inducer bench --method "$1" --dtype "$2" --batch "$3" \
        --length "$length" --preset "$PRESET" --device "$DEVICE" "${TIMED[@]}" --json
}

# peer METHODS DTYPE ROWS LENGTH [--compile]: all methods in one process.
peer() {
    [ -n "$TRANSFORMERS" ] || return
    local compile=("${@:5}") limit=75 methods=${1//,/+}
    [ ${#compile[@]} -gt 0 ] && limit=240
    job "bench-peer-$methods-$2-$3x$4${compile[0]:+-compile}" "$limit" \
        python "$PEERS/train_step.py" --method "$1" --dtype "$2" --batch "$3" --length "$4" \
        --preset "$PRESET" --device "$DEVICE" "${TIMED[@]}" "${compile[@]}"
}

# pair DTYPE ROWS LENGTH: four methods here, then there.
pair() {
    local method
    for method in inducer lora full prefix; do
        ours "$method" "$@"
    done
    peer inducer,lora,full,prefix "$@"
}

step_bench() {
    pair bf16 "${WIDE[@]}"
    peer inducer,lora,full bf16 "${WIDE[@]}" --compile
}

step_more() {
    pair f32 "${WIDE[@]}"
    pair bf16 "${LONG[@]}"
    pair f32 "${LONG[@]}"
    # what takes longest comes last: it is compiled for as long as there is time
    local methods=inducer,lora,full,prefix
    peer prefix bf16 "${WIDE[@]}" --compile
    [ -z "$QUICK" ] || return
    peer $methods bf16 "${LONG[@]}" --compile
    peer $methods f32 "${WIDE[@]}" --compile
    peer $methods f32 "${LONG[@]}" --compile
    [ -n "$ALL" ] && peer inducer-authors bf16 "${WIDE[@]}"
}

# --- 6: the device's own rate of products --------------------------------------------------------

step_rate() {
    [ -n "$TORCH" ] &&
        job rate 60 python "$PEERS/product_rate.py" --device "$DEVICE" --size "$SIDE"
}

# --- 7: decoding ---------------------------------------------------------------------------------

step_decode() {
    local sizes=(--preset "$PRESET" --device "$DEVICE" --batch "${DECODED[0]}" --steps 3
        --length "${DECODED[1]}" --new-tokens "${DECODED[2]}")
    watched decode-ours-none 60 inducer bench --decode --method none "${sizes[@]}" --json
    watched decode-ours-inducer 60 inducer bench --decode --method inducer "${sizes[@]}" --json
    [ -n "$TRANSFORMERS" ] &&
        job decode-peer 60 python "$PEERS/decode.py" "${sizes[@]}"
}

step device 30
step verify 150
step methods 120
step resume 90
step rate 60
step bench 240
step decode 90
step more $((BUDGET - 80))
report write "$OUT" --print
