# Writes the tables and figures of this page.
here=experiments/baselines
atgnn progress $here/*.yaml $here/tuning/*.yaml --page $here/README.md
atgnn summary $here/tuning/runs --page $here/README.md --marker tuning --plot $here/tuning.png --x model.lr --y '[mAP]'
atgnn compare $here/runs --reference 'model = ATGNN' --page $here/README.md --plot $here/comparison.png
atgnn summary $here/runs --page $here/README.md \
    --columns '[mAP, cost/parameters, cost/latency_ms, cost/memory_mb]' \
    --plot $here/cost.png --x cost/latency_ms --y '[mAP]'
