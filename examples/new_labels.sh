#!/usr/bin/env bash
# Fine-tune a trained ATGNN on recordings with labels of your own, a folder per label:
#     bash examples/new_labels.sh [FOLDER]
# Without FOLDER, the bundled recordings are sorted by the first word of their names. ATGNN=… says where the command is.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
ATGNN=${ATGNN:-$ROOT/.venv/bin/atgnn}
SHARDS=data/shards/new_labels
FOLDER=${1:-$SHARDS-recordings}
if [ $# -eq 0 ]; then
    for clip in "$ROOT"/data/mini/clips/*.flac; do
        name=$(basename "$clip")
        mkdir -p "$FOLDER/${name%%_*}"
        cp "$clip" "$FOLDER/${name%%_*}"
    done
fi

"$ATGNN" shards write "$FOLDER" "$SHARDS" --min-clips 8 --overwrite
"$ATGNN" fit -c "$ROOT/experiments/base.yaml" -c "$ROOT/examples/new_labels.yaml" --data.shards "$SHARDS" \
    --weights "$ROOT/src/atgnn/pretrained/mini.safetensors"
"$ATGNN" test -c runs/new_labels/config.yaml --ckpt_path runs/new_labels/checkpoints/best.ckpt
"$ATGNN" report runs/new_labels
"$ATGNN" tag "$FOLDER" --top 1 --checkpoint runs/new_labels/checkpoints/best.ckpt --format csv --out runs/new_labels/tags.csv
echo "tagged all recordings, trained on or not: runs/new_labels/tags.csv"
