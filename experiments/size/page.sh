# Writes the tables and figures of this page.
here=experiments/size
atgnn progress $here/sweep.yaml --page $here/README.md
atgnn compare $here/runs --reference 'variant = pyramid-nano, depth = 5' --page $here/README.md --plot $here/comparison.png
atgnn summary $here/runs --page $here/README.md \
    --columns '[mAP, cost/parameters, cost/edges, cost/latency_ms, cost/memory_mb]' \
    --plot $here/cost.png --x cost/latency_ms --y '[mAP]'
