# Writes the tables and figures of this page.
here=experiments/depth-limits
atgnn progress $here/*.yaml --page $here/README.md
atgnn summary $here/runs --page $here/README.md \
    --columns '[mAP, energy/last, distance/last, rank/last, cost/latency_ms]'
# The curves of the deepest of each kind alone: all of them hide each other.
atgnn summary $here/runs/*=32_seed*.npz $here/runs/*layers8888*.npz --columns '[energy/last]' \
    --plot $here/curves.png --y '[energy, distance, rank]'
