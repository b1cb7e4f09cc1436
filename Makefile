.DEFAULT_GOAL := help
.PHONY: help setup run dev test test-daytona test-graphton test-steady mutants faults fuzz bench bench-peers bench-beside soak check check-fresh page coverage format docs site pictures proto lock promises clean stale

PYTHON ?= python3
# Most tests wait for processes: more of them than cores run at a time.
TEST_PROCESSES ?= 3
# With it every process that a test starts would compile all it imports anew: a server begins in 5 s instead of 1.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
READY := .venv/.ready
# bench/ only when it holds something: mypy refuses an empty folder.
SOURCES := src/agent_runner proto tests checks docs deploy $(patsubst %/,%,$(sort $(dir $(wildcard bench/*.py))))

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Made for another place (a moved or copied checkout), or for a Python that is gone: set up again.
STALE := $(shell [ ! -e $(READY) ] || { [ -x $(BIN)/python ] && grep -qsF "$$(pwd -P)/$(BIN)/" $(BIN)/agent-runner; } || echo stale)

# Set up once per lock file: the exact versions first, then this project without looking for anything else.
$(READY): requirements.lock requirements-dev.lock pyproject.toml $(STALE)
	@command -v $(PYTHON) > /dev/null || { echo "there is no $(PYTHON) here; Agent Runner needs Python 3.11 or later: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Agent Runner needs Python 3.11 or later; this is " + sys.version + ". Another one: make PYTHON=/path/to/python3")'
	@$(PYTHON) deploy/venv.py

setup: $(READY) ## set up .venv from the lock files (every target does this first)

# What `make run` sends when no MSG is given: work for the offline demo model, real input for any other.
define DEFAULT_MSG
How large is this project, and which of its files are the largest?
$$ ls
$$ wc -l status/*.py | sort -n | tail -4
$$ cat tests/store/*.py | grep -c '^def test_\|^async def test_'
@researcher find the three largest Python files of the server $$ wc -l app/server/*/*.py | sort -n | tail -4
@reviewer count the decision records $$ ls docs/architecture/decisions | wc -l
endef

# A shell command in MSG is full of dollar signs, and make would expand them. $(value) takes the text as it was typed,
# := keeps it from being expanded later, and the recipe reads it from the environment, where no quoting is needed.
ifndef MSG
override MSG := $(DEFAULT_MSG)
else
override MSG := $(value MSG)
endif
export MSG

run: $(READY) ## run one message and show it live; MSG='$ ls' changes it, ARGS="--json" adds options
	@$(BIN)/agent-runner run $(ARGS) -- "$$MSG"

dev: $(READY) ## the whole stack in one terminal: Redis, server, worker, orchestrator, Flower
	@$(BIN)/agent-runner dev $(ARGS)

test: $(READY) ## all tests, in random order; ARGS="-k name" chooses
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal $(ARGS)

test-daytona: $(READY) ## the tests of Daytona sandboxes, by its real SDK in an environment of its own (.venv/daytona)
	@$(BIN)/python -m deploy.daytona_venv
	@.venv/daytona/bin/python -m pytest tests/unit/sandbox/daytona $(ARGS)

test-steady: $(READY) ## all tests; at most three that fail run again alone, and are named when they pass then
	@$(BIN)/python -m checks.steady $(TEST_PROCESSES) $(ARGS)

test-graphton: $(READY) ## the engine's tests with graphton, in .venv/graphton, which this sets up; ARGS="-k name" chooses
	@$(BIN)/python -m deploy.graphton_venv $(ARGS)

mutants: $(READY) ## break the product on purpose, one law at a time: a named test must see each; ARGS="drop-the-fence" chooses
	@$(BIN)/python -m tests.mutants.run $(ARGS)

faults: $(READY) ## provoke every fault of the catalogue on real processes; ONLY=F07 ROUNDS=3 PARALLEL=3 POOL=prefork BROKER=rabbitmq
	@$(BIN)/python -m tests.faults.run --only "$(ONLY)" --rounds "$(or $(ROUNDS),1)" \
		--parallel "$(or $(PARALLEL),3)" --pool "$(POOL)" --broker "$(BROKER)" $(ARGS)

fuzz: $(READY) ## send both edges whatever can be sent: 10,000 HTTP requests, 20,000 gRPC calls; SEED=1 REQUESTS=50000 CALLS=0 PATHS='^/threads' ON=postgres
	@$(BIN)/python -m tests.fuzz.run --requests $(or $(REQUESTS),10000) --calls $(or $(CALLS),20000) \
		$(if $(SEED),--seed $(SEED)) $(if $(PATHS),--paths '$(PATHS)') $(if $(ON),--on $(ON)) $(ARGS)

bench: $(READY) ## measure against bare Celery and bare LangGraph in the same run; ONLY=S1,S3 ROUNDS=3
	@$(BIN)/python -m bench.run --only "$(ONLY)" --rounds "$(or $(ROUNDS),3)" $(ARGS)

soak: $(READY) ## twenty minutes of runs while the worker is killed every minute; MINUTES=20
	@$(BIN)/python -m bench.soak --minutes "$(or $(MINUTES),20)" $(ARGS)

bench-peers: $(READY) ## measure beside bare Celery and Aegra, in the same rounds; needs Postgres and Redis; ROUNDS=3
	@$(BIN)/python -m bench.peers --rounds "$(or $(ROUNDS),3)" $(ARGS)

bench-beside: $(READY) ## measure beside another checkout, in the same rounds; OTHER=/path/to/it ROUNDS=3
	@test -n "$(OTHER)" || { echo "which checkout? make bench-beside OTHER=/path/to/it" >&2; exit 2; }
	@$(BIN)/python -m bench.beside "$(OTHER)" --rounds "$(or $(ROUNDS),3)" $(ARGS)

check: $(READY) ## format, lint, types, import directions, generated code and docs, links, file lengths
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/python proto/generate.py --check
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m checks.links
	$(BIN)/python -m checks.paths
	$(BIN)/python -m checks.catalogue
	$(BIN)/python -m checks.file_length
	$(BIN)/python -m checks.extras
	$(BIN)/python -m checks.imports
	$(BIN)/python -m checks.rooms
	$(BIN)/python -m checks.page
	$(BIN)/python -m checks.mutants
	$(BIN)/python -m checks.migrations
	$(BIN)/python -m checks.conflicts

check-fresh: $(READY) ## set up fresh copies with the oldest pip of each Python that is here; needs the package index
	@$(BIN)/python -m checks.fresh $(ARGS)

# Parts and stores in one process; what starts processes is tested, not measured. The floor stands in pyproject.toml.
coverage: $(READY) ## which lines the tests of parts, stores and the contract run; fails below the floor
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) tests/unit tests/processes/with_a_server tests/store tests/contract --cov --cov-report=term:skip-covered $(ARGS)

promises: $(READY) ## run the tests that prove a promise; per promise: passing, failing or without a test
	@$(BIN)/python -m tests.promises $(ARGS)

format: $(READY) ## format and repair what can be repaired by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY) ## generate the parts of docs/ that come from the code
	$(BIN)/python docs/generate.py

site: $(READY) ## the docs site in build/site/html, built strictly; its tools are set up in .venv/docs
	@$(BIN)/python -m deploy.docs_venv
	@$(BIN)/python docs/website.py

pictures: $(READY) ## take the pictures in docs/images anew, of a real stack; those of pages need chromium
	@$(BIN)/python -m docs.pictures

page: $(READY) ## build the live page from app/page/; needs Node and npm, which nobody needs who uses it
	@$(BIN)/python -m deploy.page

proto: $(READY) ## generate stubs/ from proto/
	$(BIN)/python proto/generate.py

# Exact versions with hashes for every platform and Python, and nothing about where they are downloaded from.
# uv lives in a folder that is thrown away; ARGS="--upgrade" takes newer versions.
lock: ## requirements*.lock from pyproject.toml; ARGS="--upgrade" takes newer versions
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(PYTHON) -m venv "$$folder" && \
	"$$folder/bin/python" -m pip install -qq --disable-pip-version-check --upgrade pip uv packaging && \
	"$$folder/bin/python" -m deploy.lock $(ARGS)

clean: ## remove what was built; .venv and the data directory stay
	@rm -rf build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
