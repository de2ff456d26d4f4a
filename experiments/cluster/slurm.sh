#!/bin/bash
# AudioSet on 4 nodes of 8 GPUs:  sbatch experiments/cluster/slurm.sh [more options of `atgnn fit`]
#SBATCH --job-name=atgnn
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8          # one task for each GPU: Lightning takes ranks from SLURM
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue                    # a job that is pre-empted may start again
#SBATCH --signal=SIGUSR1@120         # 2 minutes before its end Lightning saves, and asks SLURM to start it again
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail
run=runs/$SLURM_JOB_NAME-$SLURM_JOB_ID     # of this job alone: what is saved there is gone on with, unasked

srun atgnn fit -c experiments/base.yaml -c experiments/audioset/balanced.yaml -c experiments/audioset/full.yaml \
    --trainer.num_nodes "$SLURM_NNODES" --trainer.devices "$SLURM_NTASKS_PER_NODE" --trainer.strategy ddp \
    --trainer.sync_batchnorm true --trainer.default_root_dir "$run" --trainer.logger.init_args.save_dir "$run" \
    --data.workers 7 "$@"
