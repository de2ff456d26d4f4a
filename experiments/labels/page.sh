# Writes the tables and figures of this page.
here=experiments/labels
atgnn progress $here/sweep.yaml --page $here/README.md
atgnn summary $here/runs --page $here/README.md --columns '[mAP, "mAP:planted_test", "mAP:free_test", links,
    weight/1, weight/2, weight/3, weight/4]' --plot $here/labels.png --y '[weight, untrained/weight]'
