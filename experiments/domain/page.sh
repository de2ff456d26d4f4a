# Writes the tables and figures of this page.
here=experiments/domain
atgnn progress $here/sources-*.yaml $here/rates-*.yaml --page $here/README.md
atgnn summary $here/runs/lmms_*.npz $here/runs/sonic_*.npz --page $here/README.md --marker sources \
    --columns '["mAP:lmms|sonic", "mAP:sonic|lmms"]'
atgnn summary $here/runs/rate*.npz --page $here/README.md --marker rates \
    --columns '[mAP, mAP/08000, mAP/11025, mAP/16000, mAP/22050, mAP/32000, mAP/48000]' --plot $here/rates.png --y '[mAP]'
