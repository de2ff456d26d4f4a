# Writes the tables and figures of this page.
here=experiments/mlg
atgnn progress $here/sweep.yaml --page $here/README.md
atgnn compare $here/runs --reference 'plg = false, llg = false' --page $here/README.md --plot $here/comparison.png
atgnn summary $here/runs --page $here/README.md --columns '[mAP, cost/parameters, cost/latency_ms, cost/memory_mb]'
