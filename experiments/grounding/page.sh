# Writes the tables and figures of this page, from the runs of another experiment.
here=experiments/grounding
runs="experiments/mlg/runs/scenes_plg=true_*.npz"
atgnn progress experiments/mlg/sweep.yaml --page $here/README.md
atgnn summary $runs --page $here/README.md --marker attention --columns '[share/1, share_by_chance/1, untrained/share/1,
    share/2, share/3, share/4, share_by_chance/4, untrained/share/4, pointing/1, pointing/4]'
atgnn summary $runs --page $here/README.md --marker curves --columns '[deletion_area/plg, deletion_area/random,
    deletion_area/event, insertion_area/plg, insertion_area/random, insertion_area/event]'
atgnn summary $runs --plot $here/stages.png --y '[share, share_by_chance, pointing]'
atgnn summary $runs --plot $here/curves.png --y '[deletion/plg, deletion/random, deletion/event,
    insertion/plg, insertion/random, insertion/event]'
