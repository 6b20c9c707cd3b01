# Everything a user or contributor types.  The first use sets up .venv with pinned dependencies.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN := .venv/bin
READY := .venv/.ready
export OMP_NUM_THREADS ?= 1
export PYTHONDONTWRITEBYTECODE =  # compiled files are kept: without them each process of the tests takes 5 s more

.PHONY: install run lab notebooks test claims paper faults bench gpu docs stub check clean

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

install: $(READY)  ## only the set-up: .venv with pinned dependencies

run: $(READY)  ## the first life: real digits, seven arms, a table and figures
	$(BIN)/cls-sim experiment=digits

lab: $(READY)  ## JupyterLab with the notebooks
	$(BIN)/jupyter lab notebooks

notebooks: $(READY)  ## run all notebooks and store their outputs
	$(BIN)/python tests/notebooks.py

test: $(READY)  ## the fast tests
	$(BIN)/python -m pytest -m "not claims" -n 2 --dist worksteal

claims: $(READY)  ## every claim at size=small (one in four without its mechanism too), a tenth of the faults, W&B, Ray, sweeps, notebooks, wheel
	$(BIN)/python -m pytest -m claims -n 2 --durations=0 --durations-min=2

paper: $(READY)  ## every claim at full size (hours), and without its mechanism, piece by piece: docs/claims.md; a rerun does what is missing
	$(BIN)/cls-sim-claims workers=2

faults: $(READY)  ## every fault at full count (docs/reliability.md); finished pieces are kept, a rerun does what is missing
	$(BIN)/python -m benchmarks.faults

bench: $(READY)  ## speed, as ratios against a hand-written loop in the same run
	$(BIN)/python -m benchmarks

gpu: $(READY)  ## agreement with the CPU and speed on a GPU, at most eight minutes; writes the tables of docs/gpu.md (no GPU: one line, exit code 2)
	$(BIN)/python -m benchmarks.gpu

docs: $(READY)  ## the site, warnings as errors (notebooks are run); every example runs, every link leads somewhere
	CLS_SIM_NOTEBOOKS=force $(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	$(BIN)/python -m pytest -q tests/test_docs.py

stub: $(READY)  ## the static types of the public names (cls_sim/__init__.pyi), written anew from the vocabulary
	$(BIN)/python tests/stub.py

check: $(READY)  ## style, types, and claims that are weak (from the files and the stored results; nothing is run)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright
	$(BIN)/cls-sim-claims --check

clean:
	rm -rf .venv outputs multirun dist
