PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv book serve reproduce bench test colab-check repository lint clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

venv: $(INSTALLED) ## Create .venv with the tested versions (PYTHON=python3.12 picks the interpreter)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: Python 3.11 or newer is needed, and '$(PYTHON)' is not: install one and run 'make $(MAKECMDGOALS) PYTHON=python3.11'" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e ".[book,dev]"
	@touch $@

book: $(INSTALLED) ## Execute the chapters and build the HTML book
	$(BIN)/python tools/build_book.py
	@echo "Open _build/html/index.html, or run 'make serve'."

.PHONY: page
page: $(INSTALLED) ## Preview one page: run that chapter alone, and make it in _build/preview (PAGE=05, PAGE=faq)
	$(BIN)/python tools/build_book.py --page $(or $(PAGE),'')

serve: $(INSTALLED) ## Serve the built book on http://localhost:8000 (PORT=8001 for another port)
	@test -f _build/html/index.html || { echo "error: there is no book yet, run 'make book' first" >&2; exit 1; }
	@echo "The book is at http://localhost:$(PORT), Ctrl-C stops it."
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

.PHONY: notebooks
notebooks: $(INSTALLED) ## Make of each chapter a notebook that reads well in Colab, in JupyterLab and at GitHub
	$(BIN)/python tools/build_book.py --notebooks

.PHONY: archive
archive: book ## Pack the book into one file that opens from a folder, with no network
	$(BIN)/python tools/make_archive.py

.PHONY: pdf
pdf: book ## Print the book as one PDF, with Chromium and without TeX
	$(BIN)/python tools/make_pdf.py

.PHONY: picture
picture: $(INSTALLED) ## Draw the README's pictures again, from the records, the playground and an audit (needs Chromium)
	$(BIN)/python tools/make_picture.py

TRIALS ?= 3
FIGURES := settings_200 table2 table1 fig5 fig4 noise_imbalance later later_imbalance clean_batch unclean schedule
reproduce: $(INSTALLED) ## Run every experiment that a CPU can do (many hours, resumable; TRIALS=5 for more), and the report
	set -e; for name in fig2 pair_8_2; do $(BIN)/l2rw reproduce $$name --scale paper --trials $(TRIALS); done
	set -e; for name in $(FIGURES); do $(BIN)/l2rw reproduce $$name --scale reduced --trials $(TRIALS); done
	$(BIN)/l2rw reproduce cifar_small --scale reduced
	$(BIN)/l2rw report

DO ?= start
.PHONY: campaign
campaign: $(INSTALLED) ## Run CIFAR-10 with the paper's network, for days, resumable (DO=status, pause, go-on, stop)
	$(BIN)/python tools/campaign.py $(DO)

.PHONY: gpu
gpu: $(INSTALLED) ## Nine minutes of a GPU: its tests, what a step costs, then CIFAR-10 at the paper's scale (resumable)
	$(BIN)/python tools/gpu.py

BENCHED := .venv-bench/.installed
ROUNDS ?= 7
DEVICE ?= cpu
bench: $(BENCHED) ## Compare what a step costs with other software, and record it (ROUNDS=15 for more, DEVICE=cuda)
	OMP_NUM_THREADS=1 KINETO_LOG_LEVEL=9 .venv-bench/bin/python -W ignore -m benchmarks.step_cost --rounds $(ROUNDS) --device $(DEVICE)

# uv, unlike pip, installs the newest betty-ml, which says that it needs an older Python and does not.
$(BENCHED): $(INSTALLED)
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	$(BIN)/uv pip install --python .venv-bench/bin/python -c constraints.txt -e ".[bench]"
	@touch $@

.PHONY: growth
growth: $(INSTALLED) ## Measure how time and memory of a step grow with batches, network, data and trials, and record it
	OMP_NUM_THREADS=1 KINETO_LOG_LEVEL=9 $(BIN)/python -W ignore -m benchmarks.growth --rounds $(ROUNDS)

BASE ?= HEAD
.PHONY: check
check: lint ## Check style and types, then run the quick tests of what was changed (BASE=main: since then)
	$(BIN)/python tools/check.py $(BASE)

CORES ?= logical
test: lint ## Check style, then run every test: package, chapters, and the built book in Chromium (CORES=1 for fewer)
	$(BIN)/pytest --numprocesses $(CORES) --dist loadgroup --no-loadscope-reorder

COLAB_PYTHON ?= 3.13
colab-check: notebooks ## Run every notebook and the method's tests with Colab's versions (COLAB_PYTHON=path of a Python 3.13)
	$(BIN)/python tools/colab_check.py --python $(COLAB_PYTHON)

.PHONY: wheel-check
wheel-check: $(INSTALLED) ## Install the wheel alone in a new environment, and run the README's loop
	$(BIN)/python tools/bare_wheel.py

repository: ## Bring README, CITATION.cff and the first cells in line with the repository's address (URL=... changes it)
	$(PYTHON) tools/repository.py $(URL)

.PHONY: public
public: ## Fail while the repository's address is a placeholder: nothing is published under it
	$(PYTHON) tools/repository.py --public

lint: $(INSTALLED) ## Check style and formatting, the types of the core, and that nothing is unused
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/unused.py

clean: ## Delete the book and its execution cache
	rm -rf _build
