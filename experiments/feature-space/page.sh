# Writes the tables and figures of this page, from the runs of other experiments.
here=experiments/feature-space
runs="experiments/mlg/runs/scenes_*.npz experiments/graph/runs/*.npz"
atgnn progress experiments/mlg/sweep.yaml experiments/graph/*.yaml --page $here/README.md
atgnn summary $runs --page $here/README.md --marker graphs \
    --columns '[mAP, purity/1, purity_by_chance/1, untrained/purity/1, purity/3, purity_by_chance/3, untrained/purity/3]'
atgnn summary $runs --page $here/README.md --marker clusters --columns '[silhouette/before/1, silhouette/after/1,
    silhouette/before/3, silhouette/after/3, untrained/silhouette/after/3, nmi/before/3, nmi/after/3, untrained/nmi/after/3]'
atgnn summary $runs --plot $here/stages.png --y '[purity, untrained/purity, nmi/after, untrained/nmi/after]'
atgnn summary $runs --plot $here/purity.png --x purity/3 --y '[mAP]'
