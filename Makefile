# Each target does its own set-up: `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEVELOP := $(VENV)/.develop
EVERYTHING := $(VENV)/.everything
DATA   ?= $(EMBHUB_TEST_DATA)

# Two waiting threads that spin starve each other on small machines; results do not depend on these.
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 0
export HF_HUB_DISABLE_TELEMETRY = 1
export HF_HUB_OFFLINE =
# Set by some containers: each of the many processes that tests start would compile the program anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help setup develop everything see-it demo demo-xray demo-private demo-study bench bench-privacy bench-install test test-thorough test-exhaustive \
	test-engines test-numerical test-anywhere fuzz soak mutants check lock docs dist sbom attest format translations clean

help:
	@echo "make setup      an environment in .venv with embhub and embhub-registry; every target does it by itself"
	@echo "make develop    adds what tests and checks need"
	@echo "make everything adds what the documentation site and releases need"
	@echo "make see-it     pull an embedding that comes with the source, verify it, generate with it; no network"
	@echo "make demo       two hospitals and a registry on this machine; results in demo-out/"
	@echo "make demo-xray  the same on real chest X-rays: make demo-xray DATA=folder"
	@echo "make demo-private  a private training beside a plain one, its ledger and both audits"
	@echo "make demo-study  three hospitals train one embedding together, a fourth pulls it"
	@echo "make bench      training and generating beside diffusers, and the tables of the studies; prints them"
	@echo "make bench-install  what each installation and make see-it, make demo take; writes README's two tables"
	@echo "make bench-privacy  what privacy costs (hours; resumable)"
	@echo "make test       the quick tests: one of each rule, and each way from end to end"
	@echo "make test-thorough  the others, one case of each: crashes, fuzzing, every foreign client"
	@echo "make test-exhaustive  all further cases, every kind of base, and the tests that take minutes each, before a release"
	@echo "make test-engines  the registry's tests, stock clients and kills over PostgreSQL"
	@echo "make test-anywhere  one case of some tests as root or as a user, on Python 3.11 to 3.13, on a machine unlike yours"
	@echo "make test-numerical  trainings once more: without bfloat16 instructions, and with two threads"
	@echo "make fuzz       fuzz one parser: make fuzz TARGET=log-proof MINUTES=60 (see tests/fuzz/log_parsers.py)"
	@echo "make soak       three servers while processes and database fail: make soak MINUTES=60 [SEED=7]"
	@echo "make mutants    change the files that decide in one place each; a test has to notice: make mutants FILE=path SAMPLE=20 SEED=7"
	@echo "make check      ruff, mypy, import-linter, docs"
	@echo "make lock       renew the lock files with hashes, for development and for a registry"
	@echo "make translations  bring the translations of page one of the evidence pack up to date with its English text"
	@echo "make docs       the documentation site, in site/"
	@echo "make dist       wheel and source archive in dist/, built twice and compared"
	@echo "make sbom       a software bill of materials (CycloneDX) in dist/"
	@echo "make attest     sign what lies in dist/: make attest KEY=name"

setup: $(READY)

INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

$(READY): pyproject.toml bases/pyproject.toml registry/pyproject.toml constraints.txt embhub/version.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "venv is missing: install your system's python3-venv"; exit 2; }
	@echo "installing into $(VENV) (torch first, so that nothing pulls another build)"
	@$(INSTALL) torch
	@$(INSTALL) -e '.[diffusion,registry]' -e ./bases -e ./registry
	@touch $@

develop: $(DEVELOP)

$(DEVELOP): $(READY)
	@echo "installing what tests and checks need"
	@$(INSTALL) -e '.[dicom,nifti,ocr,cluster,judge,study,dev]'
	@touch $@

everything: $(EVERYTHING)

$(EVERYTHING): $(DEVELOP)
	@$(INSTALL) -e '.[docs,release]'
	@touch $@

see-it: $(READY)
	@$(BIN)/python -m examples.see_it --out see-it

demo: $(READY)
	@$(BIN)/python -m examples.demo --out demo-out

demo-xray: $(READY)
	@$(BIN)/python -m examples.demo --xray "$(DATA)" --out demo-xray-out

demo-private: $(READY)
	@$(BIN)/python -m examples.demo.private --out demo-private-out

demo-study: $(READY)
	@$(INSTALL) -e '.[study]'
	@$(BIN)/python -m examples.demo.study --out demo-study-out

bench: $(DEVELOP)
	@$(BIN)/python -m bench

bench-install: $(DEVELOP)
	@$(BIN)/python -m bench.install --write

bench-privacy: $(DEVELOP)
	@$(BIN)/python -m bench.privacy --part step --part utility

# Three at once keep two processors busier: with two, 734 CPU seconds took 621. CI runs two parts at once.
WORKERS ?= 3
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Properties try a fifth of their examples here, and all of them in test-exhaustive.
test: $(DEVELOP)
	@HYPOTHESIS_PROFILE=few $(PYTEST) -m "not thorough"

# The sentences of page one of the evidence pack and of the form: new and changed ones appear untranslated in each
# catalogue, those that are gone leave it. tests/embhub/evidence/test_catalogues.py reads the keywords here.
KEYWORDS := -k say -k english -k mark -k message -k counted:1,2
CATALOGUES := embhub/evidence/catalogues
translations: $(DEVELOP)
	@$(BIN)/pybabel -q extract --no-default-keywords $(KEYWORDS) --no-location --sort-by-file \
	  -F $(CATALOGUES)/babel.cfg -o $(VENV)/page-one.pot embhub
	@for file in $(CATALOGUES)/*.po; do $(BIN)/pybabel -q update --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date \
	  --no-wrap -i $(VENV)/page-one.pot -l $$(basename $$file .po) -o $$file || exit 1; done

# The registry's tests over PostgreSQL, with stock clients and kills; which, bench/registry_engines.py says.
test-engines: $(DEVELOP)
	@$(BIN)/python -m bench.registry_engines --engine postgresql --first-cases

# What is marked `rounding` is left to test-numerical, which runs it twice.
test-thorough: $(EVERYTHING)
	@$(PYTEST) --durations=80 -m "thorough and not (exhaustive or rounding)"

test-exhaustive: $(DEVELOP)
	@$(PYTEST) -m "exhaustive or hypothesis"

# Processors round differently. The first run is an Intel processor with AVX-512 and without AVX512-BF16 and AMX; one
# that has no AVX-512 stays as it is, and runs only what `make test` did not. The second adds up in another order: one
# case of each test shows it.
AVX512 := $(if $(shell grep -m 1 -o avx512f /proc/cpuinfo 2>/dev/null),ATEN_CPU_CAPABILITY=avx512)
NUMERICAL = -m pytest --dist loadfile \
	$(addprefix tests/embhub/diffusion/,training adaptation dp/test_gradients.py)
# What starts processes of its own tells nothing about threads.
ALONE = $(addprefix --ignore=tests/embhub/diffusion/,training/test_resuming.py training/test_interrupted_command.py \
	adaptation/test_resuming_adaptation.py)
test-numerical: $(DEVELOP)
	@OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI $(AVX512) $(BIN)/python $(NUMERICAL) -n 2 \
		-m "numerical and not slow and ($(if $(AVX512),not thorough or )rounding)"
	@OMP_NUM_THREADS=2 $(BIN)/python $(NUMERICAL) $(ALONE) -n 0 -p tests.support.first_cases \
		-m "numerical and not slow and (not thorough or rounding)"

# One case of some tests as root or an ordinary user, in a private TMPDIR, far away, on each Python; files that ask who
# runs them as both.
test-anywhere: $(DEVELOP)
	@.ci/test-anywhere

# What it finds and the inputs that it grows stay in fuzz-out/. TARGET=log-… starts from the seeds of `log`.
TARGET  ?= log
MINUTES ?= 10
fuzz: $(DEVELOP)
	@mkdir -p fuzz-out/$(TARGET)/corpus
	@$(BIN)/python -m tests.fuzz.fuzz $(TARGET) -max_total_time=$$(($(MINUTES) * 60)) -rss_limit_mb=1500 -timeout=10 \
		-max_len=8000 -dict=tests/fuzz/words.dict -artifact_prefix=fuzz-out/$(TARGET)/ -print_final_stats=1 \
		fuzz-out/$(TARGET)/corpus $(wildcard $(addprefix tests/fuzz/corpus/,$(firstword $(subst -, ,$(TARGET)))))

# Needs PostgreSQL's programs. It prints its seed first, and what was wrong last.
soak: MINUTES = 60
soak: $(DEVELOP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak.run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# Mutation testing of fourteen files, all or FILE. What was tried stays in mutants-out/; tests/mutants/run.py says more.
mutants: $(DEVELOP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants.run $(FILE) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED))

check: $(DEVELOP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy -p embhub_bases
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/test_architecture.py tests/test_docs.py

# torch is left out, with what it alone needs: which build suits a machine depends on its index, and constraints.txt pins it.
# Our own distributions come from the tree.
LOCK = $(BIN)/uv pip compile pyproject.toml registry/pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-annotate --custom-compile-command "make lock" -c constraints.txt
lock: $(DEVELOP)
	@without=$$(mktemp) && printf "%s; python_version < '3'\n" torch embhub embhub-bases embhub-registry > $$without && \
	$(LOCK) --override $$without --extra diffusion --extra judge --extra dicom --extra nifti --extra ocr --extra cluster --extra study --extra dev \
		-o .ci/dev.lock && \
	$(LOCK) --override $$without --extra postgresql --extra tracing \
		-o registry/deploy/requirements.lock && rm $$without

docs: $(EVERYTHING)
	@NO_MKDOCS_2_WARNING=1 TRANSFORMERS_VERBOSITY=error $(BIN)/mkdocs build --strict --quiet
	@$(BIN)/python .ci/check_site.py site

dist: $(EVERYTHING)
	@$(BIN)/python .ci/dist.py dist

sbom: $(EVERYTHING)
	@$(BIN)/python .ci/sbom.py dist/embhub.cdx.json

KEY ?= release
attest: $(DEVELOP)
	@$(BIN)/python .ci/attest.py sign "$(KEY)" $(filter-out %.intoto.json,$(wildcard dist/*))

format: $(DEVELOP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf demo-out demo-xray-out demo-private-out demo-study-out mutants-out build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
