# Writes the tables and figures of this page.
here=experiments/search
atgnn progress $here/sweep.yaml --page $here/README.md
atgnn summary $here/runs --page $here/README.md --columns '[mAP, cost/parameters, cost/latency_ms]' \
    --plot $here/search.png --x cost/latency_ms --y '[mAP]'
