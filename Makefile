# Everything a contributor does. Each target makes the set-up it needs, in .venv/, the first time.
# Needs a POSIX shell, coreutils and Python 3.11 or newer; `image` needs buildah or docker as well.

PYTHON ?= python3
ARGS ?=
TESTS ?= e2e
UPGRADE ?=
# Tests wait for sockets and processes more than they compute: more of them than there are cores.
JOBS ?= 4

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --quiet --no-input
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# stdin carries what no dependency list of pyproject.toml holds: setuptools, its build requirement
UV_COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command 'make lock' $(UPGRADE)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

.PHONY: help setup demo test coverage lint check image cluster cluster-down e2e bench lock generate clean

help:  ## list the targets
	@while IFS= read -r line; do case "$$line" in \
	  [a-z]*:*'## '*) printf '  make %-13s %s\n' "$${line%%:*}" "$${line#*## }" ;; \
	esac; done < Makefile

setup: $(VENV)/stamp-project  ## what is needed to run: gives .venv/bin/amdgpu-plugin

demo: setup  ## the plugin against a simulated node and kubelet, on this machine
	@$(VENV)/bin/amdgpu-plugin demo

test: $(VENV)/stamp-test  ## all tests; make test ARGS="-k kfd"
	@$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

coverage: $(VENV)/stamp-test  ## the same, with line and branch coverage
	@$(PY) -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=term $(ARGS)

lint: $(VENV)/stamp-lint  ## formatting, ruff, mypy --strict
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

check: lint test  ## lint and test: what CI runs

image:  ## the container image, by buildah or docker; BASE_IMAGE= makes its base here, ARCHIVE=FILE writes a tar
	@image/build.sh

cluster: $(VENV)/stamp-project  ## a one-node Kubernetes cluster on this machine (root, Debian)
	@$(PY) -m e2e.cluster up

cluster-down: $(VENV)/stamp-project  ## remove it
	@$(PY) -m e2e.cluster down

# What is built is built before pytest's clock starts. Where nothing can be built, the tests say why and skip.
e2e: $(VENV)/stamp-test  ## end-to-end tests: on KUBECONFIG's cluster, else on one of their own; TESTS=FILE for one
	@[ -n "$$KUBECONFIG" ] || $(PY) -m e2e.cluster build || true
	@$(PY) -m pytest $(TESTS) -o timeout=900 $(ARGS)

bench: setup  ## measure, and write benchmarks/results.md
	@$(PY) -m benchmarks $(ARGS)

lock: $(VENV)/stamp-lock  ## bring requirements/*.txt in line with pyproject.toml; UPGRADE=--upgrade for the newest
	@echo 'setuptools>=77' | $(UV_COMPILE) pyproject.toml - -o requirements/run.txt > /dev/null
	@echo 'setuptools>=77' | $(UV_COMPILE) pyproject.toml - --group test --group generate \
	  -c requirements/run.txt -o requirements/test.txt > /dev/null
	@$(UV_COMPILE) --group lint -c requirements/test.txt -o requirements/lint.txt > /dev/null
	@echo uv | $(UV_COMPILE) - -o requirements/lock.txt > /dev/null

generate: $(VENV)/stamp-test  ## write the Python of the kubelet API anew from its .proto
	@$(PY) -m amdgpu_plugin.kubelet.api.generate

clean:  ## remove .venv and all that was made
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage

# One stamp for each lock file. The order-only chain keeps two pips out of the same .venv under make -j.
$(VENV)/stamp-run: | $(VENV)/stamp-python
$(VENV)/stamp-test $(VENV)/stamp-lock: | $(VENV)/stamp-project
$(VENV)/stamp-lint: | $(VENV)/stamp-test

$(VENV)/stamp-%: requirements/%.txt
	@echo "installing $<"
	@$(PIP) install --no-deps --require-hashes -r $<
	@touch $@

$(VENV)/stamp-project: pyproject.toml amdgpu_plugin/__init__.py $(VENV)/stamp-run
	@echo "installing amdgpu-plugin from this folder"
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/stamp-python:
	@command -v '$(PYTHON)' > /dev/null || { \
	  echo "$(PYTHON): not found. Python 3.11 or newer is needed; on Debian: apt-get install python3 python3-venv" >&2; \
	  exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is older than Python 3.11, which is needed. Name another: make PYTHON=python3.12 ..." >&2; \
	  exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; \
	  exit 1; }
	@echo "making $(VENV)"
	@'$(PYTHON)' -m venv $(VENV)
	@touch $@
