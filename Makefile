# Everything a developer does, each in a virtual environment that is made when it is needed.

PYTHON ?= python3
UV ?= uv
BIN := .venv/bin
# Whether the packages could be built for arm64: all but these, which are plain Python, have wheels.
RESOLVE_ARM64 = $(UV) pip install --quiet --dry-run --target build/arm64 --require-hashes \
	--python-version 3.11 --python-platform aarch64-manylinux_2_28 --only-binary :all: \
	--no-binary jsonrpcserver --no-binary oslash --no-binary sdnotify
LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header

# What `make run` uses; ARGS takes any further flags of hdpd.
TOPIC ?=
SHARE ?=
DOWNLOADS ?=
ARGS ?=

# From Debian: programs that some tests drive (without one of them its tests are skipped), and
# libatomic1 for what drives the browser.
DEBIAN_TEST_PACKAGES := mosquitto chromium-headless-shell libatomic1 nftables iproute2 miniupnpd miniupnpd-nftables ethtool faketime nginx-light
PYTEST_ARGS ?=

# What the bench drives: the yardsticks, and for its lines the laboratory of tests/nat.
DEBIAN_BENCH_PACKAGES := rsync openssh-client openssh-server aria2 nginx-light syncthing mosquitto nftables iproute2
BENCH_ARGS ?=

# What the soak drives: a broker, disks to mount, and a compiler for the clock that it shifts.
DEBIAN_SOAK_PACKAGES := mosquitto exfat-fuse exfatprogs gcc libc6-dev

# A value as one word of the shell, whatever is in it.
quoted = '$(subst ','\'',$(value $(1)))'

.PHONY: help
help:
	@echo 'make run TOPIC="place to meet" SHARE=~/media   run hdpd here, in the foreground'
	@echo '         (also DOWNLOADS=DIR, and ARGS="--no-mdns --port 0" for any flags of hdpd)'
	@echo 'make test     run the tests (PYTEST_ARGS="-k name" for some of them)'
	@echo 'make coverage   run them too, and print what none of them reaches'
	@echo 'make test-nat   connect every kind of home with every other, behind real NATs (as root)'
	@echo 'make test-attacks  attack a daemon as members and strangers can, and print what it cost'
	@echo 'make soak     an hour of kills, power cuts and failing disks, and a million runs of the test'
	@echo '         machine (as root); MINUTES=10 for a sixth of it'
	@echo 'make lint     check style and formatting'
	@echo 'make types    check types'
	@echo 'make bench    measure hdpd on this machine beside the usual tools (as root: all of it);'
	@echo '         BENCH_ARGS="--only large rsync" for some groups; make bench-quick: in three minutes'
	@echo 'make deb      build Debian packages for the release that this runs on, into dist/'
	@echo 'make test-appliance   install and run them in a Debian of their own (as root)'
	@echo 'make lock     resolve requirements.lock anew (needs uv)'
	@echo 'make clean    remove everything that was made here'

.PHONY: run
run: .venv/stamp
	@exec $(BIN)/hdpd \
		$(if $(value TOPIC),--topic $(call quoted,TOPIC)) \
		$(if $(value SHARE),--share-dir $(call quoted,SHARE)) \
		$(if $(value DOWNLOADS),--download-dir $(call quoted,DOWNLOADS)) \
		$(ARGS)

.PHONY: test
test: .venv/stamp
	@tests/debian-packages.sh $(DEBIAN_TEST_PACKAGES)
	$(BIN)/pytest -n auto --dist worksteal $(PYTEST_ARGS)

# What no test reaches, of what `tool.coverage` in pyproject.toml does not leave out with a reason.
# The figures are for whoever reads them: a test that fails for its slowness spoils nothing.
.PHONY: coverage
coverage: .venv/stamp
	@tests/debian-packages.sh $(DEBIAN_TEST_PACKAGES)
	rm -rf build/coverage
	mkdir -p build/coverage
	-$(BIN)/coverage run -m pytest -n auto --dist worksteal $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Kinds of homes for the matrix, see tests/nat/lab.py; empty for all.
KINDS ?=

.PHONY: test-nat
test-nat: .venv/stamp
	@tests/debian-packages.sh $(DEBIAN_TEST_PACKAGES)
	$(BIN)/python -m tests.nat.matrix $(KINDS)
	$(BIN)/pytest -m '' tests/nat $(PYTEST_ARGS)

# The attacks of tests/attacks at full size, one after the other; the suite has them at a small one.
.PHONY: test-attacks
test-attacks: .venv/stamp
	@tests/debian-packages.sh $(DEBIAN_TEST_PACKAGES)
	ATTACKS=full $(BIN)/pytest tests/attacks $(PYTEST_ARGS)

# How long, and more flags of tests/soak.
MINUTES ?= 60
SOAK_ARGS ?=

.PHONY: soak
soak: .venv/stamp
	@tests/debian-packages.sh $(DEBIAN_SOAK_PACKAGES)
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(SOAK_ARGS)

.PHONY: lint
lint: .venv/stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: .venv/stamp
	$(BIN)/mypy

.PHONY: bench
bench: .venv/stamp
	@tests/debian-packages.sh $(DEBIAN_BENCH_PACKAGES)
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

.PHONY: bench-quick
bench-quick: .venv/stamp
	@tests/debian-packages.sh $(DEBIAN_BENCH_PACKAGES)
	$(BIN)/python -m tests.bench --quick $(BENCH_ARGS)

.PHONY: deb
deb:
	debian/make-deb

.PHONY: test-appliance
test-appliance: .venv/stamp deb
	tests/appliance/run

.PHONY: lock
lock:
	$(LOCK) --extra test --upgrade --output-file requirements.lock pyproject.toml
	$(LOCK) --constraints requirements.lock --output-file debian/locks/hdpd.txt pyproject.toml
	for name in hdpctl build; do \
		$(LOCK) --constraints requirements.lock \
			--output-file debian/locks/$$name.txt debian/locks/$$name.in || exit; \
	done
	for name in hdpd hdpctl; do $(RESOLVE_ARM64) -r debian/locks/$$name.txt || exit; done

.PHONY: clean
clean:
	rm -rf .venv build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'hdpd needs Python 3.11 or newer: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tests/debian-packages.sh --needed python3-venv
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
