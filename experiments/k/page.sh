# Writes the tables and figures of this page.
here=experiments/k
atgnn progress $here/sweep.yaml --page $here/README.md
atgnn summary $here/runs --page $here/README.md \
    --columns '[mAP, cost/parameters, cost/edges, cost/latency_ms, cost/memory_mb]' \
    --plot $here/k.png --x model.k --y '[mAP, cost/latency_ms, cost/memory_mb]'
