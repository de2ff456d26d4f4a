# `make demo` and `make test` set everything up that they need. FAST=1 shortens the demo to about a minute.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SEED   ?= 0
KIND   := $(if $(FAST),fast,full)
CLIPS  := data/shards/mini/clips
SCENES := data/shards/mini/$(KIND)
RUN    := runs/mini/$(KIND)-seed$(SEED)
HEARD  := data/mini/clips/loop_safari.flac

FOLDS  := fold0 fold1 fold2 fold3 fold4
comma  := ,
empty  :=
space  := $(empty) $(empty)
others  = [$(subst $(space),$(comma),$(filter-out $(1),$(FOLDS)))]

.PHONY: setup demo results folds test test-fast lint docs figures reliability clean

setup: $(VENV)/.done

$(VENV)/.done: pyproject.toml constraints.txt setup.sh
	PYTHON=$(PYTHON) VENV=$(VENV) bash setup.sh
	touch $@

# Scenes of real recordings, a network that learns to tag them, its scores beside a linear probe's, and a picture.
demo: setup $(CLIPS) $(SCENES)
	$(BIN)/atgnn fit -c experiments/base.yaml -c experiments/mini/$(KIND).yaml --seed_everything $(SEED) \
	    --data.shards $(SCENES) --trainer.logger.init_args.name $(KIND)-seed$(SEED)
	$(BIN)/atgnn test -c $(RUN)/config.yaml --ckpt_path $(RUN)/checkpoints/best.ckpt
	$(BIN)/atgnn probe $(SCENES) $(RUN)/probe.npz --crop-seconds 4
	$(BIN)/atgnn score $(RUN)/checkpoints/scores.npz --against $(RUN)/probe.npz \
	    --names '[atgnn, linear probe]' --title 'mini scenes' --json-file $(RUN)/score.json
	$(BIN)/atgnn tag $(HEARD) --checkpoint $(RUN)/checkpoints/best.ckpt --picture $(RUN)/picture.png

$(CLIPS): | setup
	$(BIN)/atgnn shards write data/mini $@

$(SCENES): | $(CLIPS)
	$(BIN)/atgnn shards mix $(CLIPS) $@ --duration 4 --speed.train 0.25 --scenes.val 100 --scenes.test 300 \
	    --scenes.train $(if $(FAST),192,2400)

# The figures of finished runs into the repository, and from there into its pages.
results: setup
	mkdir -p experiments/results
	for seed in 0 1 2; do cp runs/mini/full-seed$$seed/score.json experiments/results/mini-seed$$seed.json; done
	cp runs/clips/score.json experiments/results/clips.json
	cp runs/mini/full-seed0/picture.png docs/images/demo.png
	$(BIN)/atgnn table experiments/results/mini-*.json experiments/results/clips.json README.md
	$(BIN)/atgnn table experiments/results/mini-*.json experiments/mini/README.md
	$(BIN)/atgnn table experiments/results/clips.json experiments/clips/README.md

# Cross-validation over the folds of a manifest; one core for each of `make -j2 folds SOURCE=…`.
folds: $(FOLDS:%=runs/clips/%/checkpoints/scores.npz) $(FOLDS:%=runs/clips/%/probe.npz)
	$(BIN)/atgnn score $(filter %scores.npz,$^) --against $(filter %probe.npz,$^) --names '[atgnn, linear probe]' \
	    --title 'real clips, 5-fold' --json-file runs/clips/score.json

runs/clips/%/checkpoints/scores.npz: | data/shards/clips
	OMP_NUM_THREADS=1 $(BIN)/atgnn fit -c experiments/base.yaml -c experiments/clips/clips.yaml --seed_everything $(SEED) \
	    --data.train '$(call others,$*)' --data.test $* --trainer.logger.init_args.name $* --trainer.enable_progress_bar false
	OMP_NUM_THREADS=1 $(BIN)/atgnn test -c runs/clips/$*/config.yaml --ckpt_path runs/clips/$*/checkpoints/last.ckpt

runs/clips/%/probe.npz: | data/shards/clips
	$(BIN)/atgnn probe data/shards/clips $@ --train '$(call others,$*)' --test $* --crop-seconds 2.56

data/shards/clips: | setup
	@[ -n "$(SOURCE)" ] || { echo "expected SOURCE=…, a folder with manifest.csv (file,labels,group,fold)"; exit 2; }
	$(BIN)/atgnn shards write $(SOURCE) $@ --split-by fold --min-clips 8

test: setup
	$(BIN)/python -m pytest

test-fast: setup
	$(BIN)/python -m pytest -m "not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in site/; a broken link or an undocumented name is an error.
docs: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir site

# The long runs behind docs/reliability.md, about half an hour.
reliability: setup
	ATGNN_FIGURES=experiments/results/reliability.json ATGNN_KILLS=20 ATGNN_FUZZ=120000 $(BIN)/python -m pytest \
	    $(addprefix tests/integration/test_,exactness.py ranks.py resume.py fuzz.py throughput.py) tests/data/test_parallel.py
	$(BIN)/python docs/reliability.py

figures: setup
	$(BIN)/python docs/figures.py

clean:
	rm -rf data/shards runs build dist
