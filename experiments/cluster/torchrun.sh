#!/bin/bash
# AudioSet on some machines, the same on each:  NODES=2 GPUS=8 HEAD=node0:29500 experiments/cluster/torchrun.sh
set -euo pipefail
last=runs/audioset-full/checkpoints/last.ckpt      # a run that was stopped goes on where it was
[ -e "$last" ] && set -- --ckpt_path "$last" "$@"

exec torchrun --nnodes "${NODES:-1}" --nproc-per-node "${GPUS:-1}" --rdzv-backend c10d \
    --rdzv-endpoint "${HEAD:-localhost:29500}" --no-python atgnn fit \
    -c experiments/base.yaml -c experiments/audioset/balanced.yaml -c experiments/audioset/full.yaml \
    --trainer.num_nodes "${NODES:-1}" --trainer.devices "${GPUS:-1}" --trainer.strategy ddp \
    --trainer.sync_batchnorm true --data.workers 7 "$@"
