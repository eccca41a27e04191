# Two commands for a newcomer: `make demo` and `make test`. Each target calls the command line tool.
PYTHON ?= python3
RUN := .venv/bin/onrecord
DEV := .venv-dev/bin

.PHONY: demo test check models report clean

demo: .venv/ready
	$(RUN) analyze seeds/000_613e7597b781f811.txt --date 2021-11-08 --out out/seed.jsonl --out out/seed.html

test: .venv-dev/ready
	$(DEV)/python -m pytest -q

check: .venv-dev/ready
	$(DEV)/ruff check pipeline tests
	$(DEV)/ruff format --check pipeline tests
	$(DEV)/mypy
	$(DEV)/onrecord corpus check data/corpus seeds
	$(DEV)/onrecord config check configs data/registry

models: .venv-dev/ready
	$(DEV)/onrecord train configs/train/extraction.yaml
	$(DEV)/onrecord train configs/train/stance.yaml

report: .venv-dev/ready
	$(DEV)/onrecord evaluate --gold data/corpus --split dev --counterfactual --ablation --title "Dev report" --out docs/dev
	$(DEV)/onrecord evaluate --gold seeds --title "Seed article" --out docs/seed
	$(DEV)/onrecord corpus stats data/corpus --out data/corpus/stats.md
	$(DEV)/onrecord corpus agreement data/annotations/first data/annotations/second --out data/corpus/agreement.md
	$(DEV)/onrecord schema > docs/statement.schema.json
	$(DEV)/onrecord config reference > docs/config.md
	$(DEV)/python docs/make_readme.py

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
