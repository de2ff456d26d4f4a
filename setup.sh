#!/usr/bin/env bash
# Makes the virtual environment: pinned versions, torch-cluster compiled on all cores, the package itself.
set -euo pipefail
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
PIP="$VENV/bin/python -m pip --quiet --disable-pip-version-check"

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    { echo "atgnn: expected Python 3.10 or newer, got $("$PYTHON" --version); set PYTHON=…" >&2; exit 1; }
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"

echo "[1/3] PyTorch"
$PIP install -c constraints.txt --upgrade setuptools wheel ninja
$PIP install -c constraints.txt torch torchaudio

echo "[2/3] torch-cluster (compiled here, a few minutes the first time)"
if ! "$VENV/bin/python" -c 'import torch_cluster' 2>/dev/null; then
    config=$(mktemp)
    printf '[build_ext]\nparallel=%s\n' "$(getconf _NPROCESSORS_ONLN)" >"$config"
    if ! DIST_EXTRA_CONFIG=$config $PIP install -c constraints.txt --use-pep517 --no-build-isolation torch-cluster; then
        echo "atgnn: torch-cluster could not be built (is there a C++ compiler?); going on with the dense k-NN search." >&2
        echo "atgnn: only ragged batches and model.knn=torch_cluster need it." >&2
    fi
    rm -f "$config"
fi

echo "[3/3] atgnn"
$PIP install -c constraints.txt -e '.[dev,wandb,parquet,export,serve,tensorboard,baselines]'
