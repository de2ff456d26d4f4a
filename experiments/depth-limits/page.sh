# Writes the tables and figures of this page.
here=experiments/depth-limits
atgnn progress $here/*.yaml --page $here/README.md
atgnn summary $here/runs --page $here/README.md \
    --columns '[mAP, energy/last, distance/last, rank/last, cost/latency_ms]' \
    --plot $here/curves.png --y '[energy, distance, rank]'
