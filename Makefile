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

TRAIN_SCENES ?= 2400
TEST_SCENES  ?= 300

FOLDS  := fold0 fold1 fold2 fold3 fold4
comma  := ,
empty  :=
space  := $(empty) $(empty)
others  = [$(subst $(space),$(comma),$(filter-out $(1),$(FOLDS)))]

.PHONY: setup demo results folds experiments pages test test-fast lint docs figures reliability bench clean

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

data/shards/mini/fast data/shards/mini/full: | $(CLIPS)
	$(BIN)/atgnn shards mix $(CLIPS) $@ --duration 4 --speed.train 0.25 --scenes.val 100 --scenes.test $(TEST_SCENES) \
	    --scenes.train $(if $(filter %/fast,$@),192,$(TRAIN_SCENES))

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

# All experiments, in order of their value; what is finished is not repeated, so stop and go on at any time. FAST=1 only
# proves that all run. Needs SOURCE=… for clips with folds, see data/shards/clips.
EXPERIMENTS := mlg graph baselines/tuning baselines labels depth-limits k depth size domain search
SWEEPS      := $(foreach e,$(filter-out $(if $(FAST),baselines/tuning),$(EXPERIMENTS)),$(shell grep -ls ^method: experiments/$(e)/*.yaml))
SHARDS      := data/shards/mini/full data/shards/clips data/shards/clips32 data/shards/planted data/shards/domain

ifdef FAST
# In a folder of its own, with few scenes.
experiments: setup
	mkdir -p runs/fast/data && ln -sfn $(abspath experiments) runs/fast/ && ln -sfn $(abspath data/mini) runs/fast/data/
	$(MAKE) -C runs/fast -f $(abspath Makefile) -o setup VENV=$(abspath $(VENV)) SOURCE=$(abspath $(SOURCE)) FAST= \
	    TRAIN_SCENES=48 TEST_SCENES=32 $(SHARDS)
	cd runs/fast && $(abspath $(BIN))/atgnn sweep $(SWEEPS) --fast true --jobs 2
else
experiments: setup $(SHARDS)
	$(BIN)/atgnn sweep $(SWEEPS) --jobs 2
	$(MAKE) pages
endif

# Tables and figures of the experiments, from the runs that are there; a figure is shown once it has been drawn.
pages: setup
	for page in experiments/*/page.sh; do echo "== $$page"; PATH="$(abspath $(BIN)):$$PATH" bash -eu $$page || echo "left as it is: $$page"; done
	for png in experiments/*/*.png; do \
	    sed -i -E "s/^<!-- (!\[.*\]\($$(basename $$png)\)) -->$$/\1/" $$(dirname $$png)/README.md; done

# Scenes in which three labels are followed by another one, and scenes in which they are not, to train and test on.
data/shards/planted: | $(CLIPS)
	rm -rf $@.clips $@.free && mkdir -p $@.clips
	for kind in planted free; do for split in train test; do cp -r $(CLIPS)/$$split $@.clips/$${kind}_$$split; done; done
	$(BIN)/atgnn shards mix $@.clips $@.free --duration 4 --scenes.free_train $(TRAIN_SCENES) --scenes.free_test $(TEST_SCENES) \
	    --speed.free_train 0.25
	$(BIN)/atgnn shards mix $@.clips $@.part --duration 4 --scenes.planted_train $(TRAIN_SCENES) \
	    --scenes.planted_test $(TEST_SCENES) \
	    --speed.planted_train 0.25 --overwrite true \
	    --companions '{Tabla: "Beep, bleep", Bass drum: Cymbal, Synthesizer: Snare drum}'
	mv $@.free/* $@.part/ && rm -r $@.clips $@.free && mv $@.part $@

data/shards/clips32: | data/shards/clips
	$(BIN)/atgnn shards write $(SOURCE) $@ --split-by fold --min-clips 8 --sample-rate 32000

# Two sources of the same manifest, each in its folds: splits lmms-common-0 …, sonic-pi-samples-0 ….
data/shards/domain: | data/shards/clips
	sed -nE '1s/,source,/,split,/p; s%^(.*),(lmms-common|sonic-pi-samples),(.*),([0-4])\r?$$%$(abspath $(SOURCE))/\1,\2-\4,\3,\4%p' \
	    $(SOURCE)/manifest.csv > $@.csv
	$(BIN)/atgnn shards write $@.csv $@ --split-by split --min-clips 8
	rm $@.csv

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

# What a network costs, beside the textbook form, AST and a CNN; on an idle machine, in about six minutes.
bench: setup
	$(BIN)/atgnn bench --json-file experiments/results/bench.json --page docs/performance.md --readme README.md \
	    --plot docs/images/bench.png

figures: setup
	$(BIN)/python docs/figures.py

clean:
	rm -rf data/shards runs build dist
