# make demo   set-up, scenes colorized by the shipped translator, a short training from nothing, evaluation, report
# make test   set-up and every check
# make fuzz   the fuzz tests in full, tens of thousands of examples
# make kills  20 training runs killed at random moments
# make long   5,000 steps, watching memory, open files and speed
# make docs   the pages, into docs/_build
PYTHON ?= python3
VENV ?= .venv
# installed first and alone: a plain "torch" can bring several GB of CUDA packages
TORCH ?= torch==2.13.0
DEMO ?= runs/demo
WORKERS ?= 2

PY = $(VENV)/bin/python
PIP = $(PY) -m pip install --disable-pip-version-check --quiet

.PHONY: demo test lint types unit wheel docs fuzz kills long benchmarks clean

$(VENV)/torch.done:
	$(PYTHON) -m venv $(VENV)
	$(PIP) "$(TORCH)"
	@touch $@

$(VENV)/train.done: $(VENV)/torch.done pyproject.toml
	$(PIP) -e ".[train]"
	@touch $@

$(VENV)/dev.done: $(VENV)/train.done
	$(PIP) -e ".[dev]"
	@touch $@

# networks this small gain next to nothing from a second thread, and lose a lot where something else is running
demo: export OMP_NUM_THREADS = 1
demo: $(VENV)/train.done
	$(PY) examples/render_scenes.py --out $(DEMO)/scenes
	$(PY) examples/colorize.py --input $(DEMO)/scenes/valB --output $(DEMO)/shipped
	@echo "Look at $(DEMO)/shipped: by the translator that is shipped. Now a short training from nothing."
	$(PY) examples/train_morngan.py --preset demo --out $(DEMO) $(if $(wildcard $(DEMO)/checkpoints/*.pt),--resume)
	$(PY) examples/evaluate.py --run $(DEMO) --results "shipped translator=$(DEMO)/shipped"
	$(PY) examples/report.py --run $(DEMO)
	@echo "Open $(DEMO)/report.html"

test: lint types unit docs wheel

lint: $(VENV)/dev.done
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(VENV)/dev.done
	$(PY) -m mypy

# one thread each: the tests' tensors are too small for more
unit: $(VENV)/dev.done
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile

# a warning is an error; nothing is fetched
docs: $(VENV)/dev.done
	$(PY) -m sphinx -W --keep-going -q docs docs/_build
	@echo "Open docs/_build/index.html"

# the built wheel in an environment of its own: with nothing but the core packages, then with what the examples need;
# README's first snippets and the notebooks run there too, and only what is imported is worth compiling
WHEEL_PIP = build/wheel-venv/bin/python -m pip install --disable-pip-version-check --quiet --no-compile
wheel: $(VENV)/dev.done
	rm -rf dist build/wheel-venv
	$(PY) -m build --wheel --outdir dist . > /dev/null
	$(PYTHON) -m venv build/wheel-venv
	$(WHEEL_PIP) "$(TORCH)"
	$(WHEEL_PIP) dist/*.whl
	cd build && wheel-venv/bin/python ../tests/drills/check_installed.py
	cd build && wheel-venv/bin/python ../tests/drills/check_front.py ../README.md
	cd build && wheel-venv/bin/python ../tests/drills/check_examples.py --jobs $(WORKERS)
	$(WHEEL_PIP) "$$(echo dist/*.whl)[train]"
	cd build && wheel-venv/bin/python ../tests/drills/check_examples.py --jobs $(WORKERS) --installed train
	cd build && wheel-venv/bin/python ../tests/drills/check_front.py ../examples/notebooks/*.ipynb
	cd build && OMP_NUM_THREADS=1 wheel-venv/bin/python -W error ../tests/drills/check_guide.py

# peers that are not installed are skipped: pip install faiss-cpu fast-pytorch-kmeans kmeans-pytorch
benchmarks: $(VENV)/dev.done
	OMP_NUM_THREADS=1 $(PY) -m tests.benchmarks --out docs/benchmarks.json --page docs/benchmarks.md \
		--picture docs/pictures/scaling.png

fuzz: $(VENV)/dev.done
	OMP_NUM_THREADS=1 MORN_FUZZ=full $(PY) -m pytest tests/fuzz -s --no-header -q

kills: $(VENV)/dev.done
	OMP_NUM_THREADS=1 $(PY) tests/drills/random_kills.py --kills 20

long: $(VENV)/dev.done
	OMP_NUM_THREADS=1 $(PY) tests/drills/long_run.py --steps 5000

clean:
	rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache
