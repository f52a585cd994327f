#!/usr/bin/env bash
# The tests of the Python package `inducer_tuning`: every method on both backbones, from `inducer
# train` to transformers and back, held against the command.
#
#     reports/checks/python.sh [NAMES OF TESTS]        e.g. tests.test_engine
#
# PYTHON   a Python with torch, transformers and safetensors    [python3]
# INDUCER  the command                                  [target/release/inducer, else debug]
#
# Prints the versions. Exit status 77 ("not run") where PyTorch, transformers or the command is not.
set -euo pipefail
cd "$(dirname "$0")/../python"

python=${PYTHON:-python3}
root=$PWD/../..
for built in "$root/target/release/inducer" "$root/target/debug/inducer"; do
    if [ -z "${INDUCER:-}" ] && [ -x "$built" ]; then INDUCER=$built; fi
done
not_run() {
    echo "not run: $1" >&2
    exit 77
}
[ -n "${INDUCER:-}" ] || not_run "no inducer (cargo build --release, or INDUCER=...)"
for module in torch transformers safetensors accelerate; do
    "$python" -c "import $module" 2>/dev/null || not_run "$python has no $module"
done
export INDUCER PYTHONPATH=$PWD PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
"$python" - <<'EOF'
import platform, torch, transformers
print(f"Python {platform.python_version()}, torch {torch.__version__}, "
      f"transformers {transformers.__version__}")
EOF
"$INDUCER" --version
if [ $# -eq 0 ]; then set -- discover -t . -s tests; fi
exec "$python" -m unittest "$@"
