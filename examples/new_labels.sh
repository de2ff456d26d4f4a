#!/usr/bin/env bash
# Fine-tune a trained ATGNN on recordings with labels of your own, a folder per label:
#     bash examples/new_labels.sh [FOLDER]
# Without FOLDER, the bundled recordings are sorted by the first word of their names. ATGNN=… says where the command is.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
ATGNN=${ATGNN:-$ROOT/.venv/bin/atgnn}
FOLDER=${1:-recordings}
if [ $# -eq 0 ]; then
    for clip in "$ROOT"/data/mini/clips/*.flac; do
        name=$(basename "$clip")
        mkdir -p "recordings/${name%%_*}"
        cp "$clip" "recordings/${name%%_*}"
    done
fi

"$ATGNN" shards write "$FOLDER" shards --min-clips 8 --overwrite true
"$ATGNN" fit -c "$ROOT/experiments/base.yaml" -c "$ROOT/examples/new_labels.yaml" --data.shards shards \
    --weights "$ROOT/src/atgnn/pretrained/mini.safetensors"
"$ATGNN" test -c runs/new_labels/config.yaml --ckpt_path runs/new_labels/checkpoints/best.ckpt
"$ATGNN" report runs/new_labels
