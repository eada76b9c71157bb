# make run    everything from nothing: set-up, then the study of config.yaml with figures, findings and report in results/desk
# make test   set-up, then linters and tests
# make setup  the set-up alone, into .venv
# make figures  every figure of results/reference/desk drawn again from its table, in seconds; needs no torch
# make test-faults  kills, losses of power and other faults, from nothing to the report
# make test-slurm  the preset smoke on a real SLURM on this machine (root; apt-get install slurm-wlm munge), against a local run
# make test-install  the wheel in empty environments of Python 3.11, 3.12 and 3.13, where found, and with the oldest torch (downloads gigabytes)
# make fuzz   10,000 mutated files for the readers of settings, tables, tokens, policies and manifests

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && { echo $$p; break; }; done)
CORES ?= all
REFERENCE ?= results/reference/desk
BIN := .venv/bin
TORCH_CPU := https://download.pytorch.org/whl/cpu

.PHONY: run setup test lint figures fuzz test-faults test-slurm test-install clean

run: setup
	$(BIN)/python -m lastmile make all --cores $(CORES)

test: setup lint
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check src tests
	$(BIN)/snakefmt --check --compact-diff Snakefile rules
	$(BIN)/mypy

# With the packages of .venv if it is there, else with those of the Python that is found.
figures:
	@python="$(BIN)/python"; test -x "$$python" || python="$(PYTHON)"; \
	"$$python" -c "import matplotlib, pandas, pydantic, seaborn, yaml" 2>/dev/null || { echo "error: pandas, matplotlib, seaborn, pydantic or PyYAML is missing in $$python; run: make setup" >&2; exit 1; }; \
	PYTHONPATH=src "$$python" -m lastmile figures $(REFERENCE)/figures

test-faults: setup
	$(BIN)/python -m pytest -n0 -m "slow or not slow" tests/test_faults.py

test-slurm: setup
	@command -v slurmctld >/dev/null && command -v munged >/dev/null || { echo "error: SLURM is missing; as root: apt-get update && apt-get install slurm-wlm munge" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[slurm]'
	$(BIN)/python -m pytest -n0 -m slow -rs tests/test_slurm.py

test-install: setup
	$(BIN)/python -m pytest -n0 -m slow -rs tests/test_install.py

fuzz: setup
	LASTMILE_FUZZ=10000 $(BIN)/python -m pytest -p no:xdist tests/test_fuzz.py

setup: .venv/installed

# The CPU build of torch is asked for where there is no NVIDIA driver and its index answers; pip prefers it over the CUDA build of the same version.
.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or later is needed and was not found; install it, or give its path: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "error: $(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing into .venv (the first time takes a few minutes)"
	@extra=""; if ! command -v nvidia-smi >/dev/null 2>&1 && $(BIN)/python -c "import urllib.request as u; u.urlopen('$(TORCH_CPU)/torch/', timeout=5)" >/dev/null 2>&1; \
		then extra="--extra-index-url $(TORCH_CPU)"; fi; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$extra -c constraints.txt -e '.[test,bench,dinov2]' \
		|| { echo "error: the installation failed; is the package index reachable (pip config list)?" >&2; exit 1; }
	@touch $@

clean:
	rm -rf .venv .snakemake runs build
