# make run           set up, then the whole study of config.yaml: data, policies, figures, findings, report
# make test          set up, then linters, types, import directions and tests
# make setup         the environment alone, in .venv
# make docs          the documentation, in build/docs
# make figures       redraw every figure of results/reference/desk from its table; needs no torch
# make gpu-kit       the packages that a GPU machine without a package index lacks, in build/gpu-kit
#
# Slow targets:
# make test-lowest   the fast tests with the lowest supported version of every package (downloads gigabytes)
# make test-install  the wheel in empty environments of Python 3.11, 3.12 and 3.13 (downloads gigabytes)
# make test-faults   kills, power losses and other faults, from nothing to the report, and the page about them
# make test-agents   the tasks of Inspect, in an environment of their own (downloads gigabytes)
# make test-slurm    the preset smoke on a real SLURM on this machine (root; apt-get install slurm-wlm munge)
# make fuzz          10,000 mutated files for the readers of settings, tables, tokens, policies and manifests
#
# make clean         remove .venv, build, runs and Snakemake's records; results stay
#
# Variables: PYTHON=/path/to/python3, CORES=4, LASTMILE_FAULTS=200 (drawn at random by test-faults)

# The first Python on the path that is new enough, unless one is named.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
endif
PYTHON_NAMED := $(filter command line environment override,$(origin PYTHON))
CORES ?= all
LASTMILE_FAULTS ?= 10
REFERENCE ?= results/reference/desk
BIN := .venv/bin
STAMP := .venv/installed
TORCH_CPU := https://download.pytorch.org/whl/cpu
# Prints pip's option for CPU builds of torch where there is no NVIDIA driver and their index answers;
# pip prefers them to the CUDA build of the same version, and waits for minutes for an index that does not answer.
CPU_INDEX = $$(! command -v nvidia-smi >/dev/null 2>&1 && $(PYTHON) -c "import urllib.request as u; u.urlopen('$(TORCH_CPU)/torch/', timeout=5)" >/dev/null 2>&1 && echo "--extra-index-url $(TORCH_CPU)")
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

.PHONY: run test lint setup docs figures gpu-kit test-lowest test-install test-agents test-faults test-slurm fuzz clean help

run: setup
	@$(BIN)/python -m lastmile run --cores $(CORES)

test: setup lint
	$(BIN)/python -m pytest -n auto --dist loadgroup

lint: setup
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m snakefmt --check --compact-diff Snakefile rules
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

docs: setup
	@$(BIN)/python -c "import furo, ipykernel, myst_nb" 2>/dev/null || $(BIN)/python $(PIP_INSTALL) -c requirements.lock -e '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

# Uses .venv if it is there, else the Python that was found.
figures:
	@python="$(BIN)/python"; test -x "$$python" || python="$(PYTHON)"; \
	"$$python" -c "import click, matplotlib, pandas, pydantic, seaborn, yaml" 2>/dev/null \
		|| { echo "error: $$python lacks click, pandas, matplotlib, seaborn, pydantic or PyYAML; run: make setup" >&2; exit 1; }; \
	PYTHONPATH=src "$$python" -m lastmile figures $(REFERENCE)/figures

gpu-kit: setup
	@$(BIN)/python scripts/gpu_kit.py --out build/gpu-kit

# Every check of the interpreter comes before anything is made. A .venv is made again if it cannot
# run pip (its creation was interrupted), has another Python than the one named, or was moved.
setup:
	@test -n "$(PYTHON)" || { echo "error: found no Python 3.11 or later; install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys' 2>/dev/null || { echo "error: $(PYTHON) does not run; name another one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: expected Python 3.11 or later, got $$($(PYTHON) -V 2>&1) ($(PYTHON)); name another one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@version() { "$$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }; \
	if test ! -e .venv && test ! -L .venv; then :; \
	elif ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then reason="is incomplete or has an old Python"; \
	elif test -n "$(PYTHON_NAMED)" && test "$$(version $(BIN)/python)" != "$$(version $(PYTHON))"; then reason="has Python $$(version $(BIN)/python), not $$(version $(PYTHON))"; \
	elif test -s $(STAMP) && test "$$(cat $(STAMP))" != "$(CURDIR)"; then reason="was made in another folder"; fi; \
	if test -n "$$reason"; then echo "making .venv again: it $$reason"; rm -rf .venv; fi
	@$(MAKE) --no-print-directory $(STAMP) PYTHON="$(PYTHON)"

$(STAMP): pyproject.toml requirements.lock
	@test -e .venv || $(PYTHON) -m venv .venv \
		|| { rm -rf .venv; echo "error: $(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing into .venv (a few minutes the first time)"
	@$(BIN)/python $(PIP_INSTALL) $(CPU_INDEX) -c requirements.lock -e '.[all,dev]' \
		|| { echo "error: the installation failed; is the package index reachable (pip config list)?" >&2; exit 1; }
	@echo "$(CURDIR)" > $@

test-lowest:
	@test -n "$(PYTHON)" || { echo "error: found no Python 3.11 or later; name it: make $@ PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x build/lowest/bin/python || $(PYTHON) -m venv build/lowest
	@$(PYTHON) tests/lowest_versions.py pyproject.toml > build/lowest/constraints.txt
	build/lowest/bin/python $(PIP_INSTALL) $(CPU_INDEX) -c build/lowest/constraints.txt -e '.[all,test]'
	build/lowest/bin/python -m pytest -n auto --dist loadgroup -W default

test-install: setup
	$(BIN)/python -m pytest -m slow -rs tests/test_install.py

# Without the lock: Inspect needs older versions of fsspec and python-dateutil than it has.
test-agents:
	@test -n "$(PYTHON)" || { echo "error: found no Python 3.11 or later; name it: make $@ PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x build/agents/bin/python || $(PYTHON) -m venv build/agents
	build/agents/bin/python $(PIP_INSTALL) $(CPU_INDEX) -e '.[train,agents,test]'
	build/agents/bin/python -m pytest -rs tests/test_agents.py tests/test_inspect.py

test-faults: setup
	@mkdir -p build && rm -f build/faults.jsonl
	LASTMILE_FAULTS=$(LASTMILE_FAULTS) LASTMILE_FAULT_LOG=$(CURDIR)/build/faults.jsonl \
		$(BIN)/python -m pytest -m "slow or not slow" tests/test_faults.py tests/test_damage.py tests/test_setup.py
	$(BIN)/python docs/fault_table.py build/faults.jsonl
	@echo "docs/faults.md"

test-slurm: setup
	@command -v slurmctld >/dev/null && command -v munged >/dev/null || { echo "error: SLURM is missing; as root: apt-get update && apt-get install slurm-wlm munge" >&2; exit 1; }
	@$(BIN)/python $(PIP_INSTALL) -c requirements.lock -e '.[slurm]'
	$(BIN)/python -m pytest -m slow -rs tests/test_slurm.py

fuzz: setup
	LASTMILE_FUZZ=10000 $(BIN)/python -m pytest tests/test_fuzz.py

clean:
	rm -rf .venv .snakemake runs build

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile
