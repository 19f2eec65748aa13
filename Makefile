# Everything runs in .venv, made on first use. PYTHON names the interpreter to make it with (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
XVFB := $(if $(DISPLAY)$(WAYLAND_DISPLAY),,xvfb-run -a -s "-screen 0 1600x1000x24")

.PHONY: setup system demo test test-slow lint docs bench sample-data golden pretrain pretrain-long gpu

setup: .venv/.ready  ## environment with pinned versions

.venv/.ready: pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "TomoTutor needs Python 3.11 or newer; run: make PYTHON=python3.11 setup"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt --editable '.[gui,dev]'
	@touch $@

system:  ## libraries that Qt needs on Debian-like Linux
	@.ci/system-packages

demo: setup  ## the main job: napari on the sample session, or the same rounds headless
	@.ci/system-packages || echo "(going on without them)"
	$(BIN)/tomotutor demo --dir demo

# a process a core, each with one thread: threads of several processes would wait for each other
test: setup system lint  ## all tests but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

test-slow: setup system  ## the slow ones
	$(BIN)/python -m pytest -m slow

lint: setup  ## ruff, mypy, import-linter
	$(BIN)/ruff check src tests docs
	$(BIN)/ruff format --check src tests docs
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup system  ## generated pages and screenshots
	$(BIN)/python docs/generate.py
	$(XVFB) $(BIN)/python docs/screenshots.py

bench: setup system  ## speed and memory of this machine, into docs/benchmarks
	$(XVFB) $(BIN)/tomotutor bench all --out docs/benchmarks

sample-data: setup  ## what demo opens
	rm -rf sample_data
	$(BIN)/tomotutor simulate sample sample_data

golden: setup  ## fixed-seed losses; only when a change of the numbers is meant
	$(BIN)/python tests/learn/golden

# what the evidence is taken on, and what looks like it: never trained on (see the card of the weights)
HELD_OUT := 1F4A,1MNF,2UV8,3J9I,4CR2,4V4R,6Z6U,1AON,6PXM,3IPM,6UTJ,4V4R_50S,4V4R_30S,4V7R,6QZP,5MRC,1QVR,1BXN,6XLU,3JB9,8TUX,7N4Y,1WCM,1LNL,6RD4,1NCB
# what else among the same structures looks like these (docs/benchmarks/set_aside.json)
RELATED := 1YYF,2MNR,5IDE
# lists of structures, made from the data that TOMOTUTOR_DATA names
STRUCTURES ?= structures

$(STRUCTURES)/list.csv: | setup
	@[ -d "$$TOMOTUTOR_DATA/structures" ] || { echo "found no folder TOMOTUTOR_DATA/structures; say where it is: TOMOTUTOR_DATA=folder make pretrain"; exit 1; }
	$(BIN)/python docs/benchmarks/structure_list.py "$$TOMOTUTOR_DATA" $(STRUCTURES)

PRETRAIN ?=

pretrain: setup $(STRUCTURES)/list.csv  ## as long as the weights that ship, into weights/; ended, it goes on when given again
	OMP_NUM_THREADS=1 $(BIN)/tomotutor pretrain --structures $(STRUCTURES)/list.csv $(STRUCTURES)/more.csv --exclude $(HELD_OUT),$(RELATED) --made-up 50 \
		--steps 7299 --batch-size 64 --width 0.25 --seed 0 --workers 1 --precision bfloat16 --device cpu --out weights $(PRETRAIN)

pretrain-long: setup $(STRUCTURES)/list.csv  ## the next weights, 1,280,000 items on one core, into weights-long/; ended, it goes on when given again
	OMP_NUM_THREADS=1 $(BIN)/tomotutor pretrain --structures $(STRUCTURES)/list.csv $(STRUCTURES)/more.csv --exclude $(HELD_OUT),$(RELATED) --made-up 50 \
		--steps 20000 --batch-size 64 --width 0.25 --seed 0 --workers 0 --precision bfloat16 --device cpu --out weights-long $(PRETRAIN)

gpu: setup  ## all that needs a GPU, in 12 minutes, into gpu/
	$(BIN)/tomotutor bench gpu --out gpu $(if $(wildcard $(STRUCTURES)/list.csv),--data $(STRUCTURES))
