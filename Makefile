# Two verbs a newcomer needs: `make serve` and `make test`.

PYTHON ?= python3
CARGO ?= cargo
MODEL ?= models/default
LISTEN ?= 127.0.0.1:8080

ORT_VERSION := 1.31.1
ORT_LIBRARY := .onnxruntime/libonnxruntime.so
ORT_CUDA_LIBRARY := .onnxruntime-cuda/libonnxruntime.so
ORT_PLATFORM := $(shell uname -m)
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := target/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ := target/tools/cargo-fuzz-$(CARGO_FUZZ_VERSION)/bin/cargo-fuzz
AXE := target/tools/axe/axe_playwright_python/axe.min.js
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
export ORT_DYLIB_PATH := $(CURDIR)/$(ORT_LIBRARY)

.PHONY: serve test onnxruntime onnxruntime-cuda check deny corpus-checks openapi browser-test bench-check conformance clients pipeline-parity deploy-checks deploy-faults image-check image-test fuzz otlp-checks operations-checks

serve: onnxruntime
	$(CARGO) build --locked --release --package nerve-server
	target/release/nerve-server --model $(MODEL) --listen $(LISTEN)

# Always the whole workspace, here and below: another selection has other features, and compiles dependencies again.
test: onnxruntime
	$(CARGO) build --locked --release --workspace --bins
	$(CARGO) test --locked --release --workspace

# The library is taken out of the pinned wheel, whatever the version of the Python that fetches it.
onnxruntime: $(ORT_LIBRARY)

$(ORT_LIBRARY): onnxruntime.txt
	rm -rf .onnxruntime.tmp
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
	    --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
	    --platform manylinux_2_28_$(ORT_PLATFORM) --dest .onnxruntime.tmp --requirement onnxruntime.txt
	$(PYTHON) -m zipfile -e .onnxruntime.tmp/onnxruntime-$(ORT_VERSION)-*.whl .onnxruntime.tmp
	mkdir -p .onnxruntime
	mv .onnxruntime.tmp/onnxruntime/capi/libonnxruntime.so.$(ORT_VERSION) $(ORT_LIBRARY)
	rm -rf .onnxruntime.tmp

# The same for NVIDIA GPUs, with the CUDA libraries it opens (1.6 GB to fetch): nerve-server finds them with
# LD_LIBRARY_PATH=.onnxruntime-cuda --onnxruntime .onnxruntime-cuda/libonnxruntime.so
onnxruntime-cuda: $(ORT_CUDA_LIBRARY)

$(ORT_CUDA_LIBRARY): onnxruntime-cuda.txt
	rm -rf .onnxruntime-cuda .onnxruntime-cuda.tmp
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
	    --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 --abi none \
	    $(addprefix --platform ,manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux2014_x86_64 manylinux2010_x86_64) \
	    --dest .onnxruntime-cuda.tmp --requirement onnxruntime-cuda.txt
	for wheel in .onnxruntime-cuda.tmp/*.whl; do $(PYTHON) -m zipfile -e $$wheel .onnxruntime-cuda.tmp && rm $$wheel || exit; done
	mkdir .onnxruntime-cuda
	mv .onnxruntime-cuda.tmp/onnxruntime/capi/libonnxruntime_providers_shared.so \
	    .onnxruntime-cuda.tmp/onnxruntime/capi/libonnxruntime_providers_cuda.so \
	    .onnxruntime-cuda.tmp/nvidia/*/lib/*.so.* .onnxruntime-cuda
	rm .onnxruntime-cuda/*.alt.so.* .onnxruntime-cuda/libcufftw.so.* .onnxruntime-cuda/libnvblas.so.*
	mv .onnxruntime-cuda.tmp/onnxruntime/capi/libonnxruntime.so.$(ORT_VERSION) $(ORT_CUDA_LIBRARY)
	rm -rf .onnxruntime-cuda.tmp

# Formatting, lints, and the structure of the code: no cyclic imports, and only the dependencies that tests/structure permits.
check:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --release --workspace --all-targets -- --deny warnings
	$(CARGO) test --locked --release --workspace --test structure

# The load generator of bench/, which is no member of the workspace.
bench-check:
	$(CARGO) fmt --manifest-path bench/load/Cargo.toml --check
	$(CARGO) clippy --locked --release --manifest-path bench/load/Cargo.toml --target-dir target/bench-load --all-targets -- --deny warnings
	$(CARGO) test --locked --release --manifest-path bench/load/Cargo.toml --target-dir target/bench-load

# Licences, sources and duplicates of the dependencies; advisories where their database can be reached.
deny: $(CARGO_DENY)
	$(CARGO_DENY) check licenses bans sources
	if $(CARGO_DENY) fetch db; then $(CARGO_DENY) check advisories; \
	else echo "the database of advisories cannot be reached: advisories were not checked"; fi

$(CARGO_DENY):
	$(CARGO) install cargo-deny --locked --version $(CARGO_DENY_VERSION) --no-default-features --root $(@D)/.. --target-dir target/tools/build
	rm -rf target/tools/build

# Hostile bytes for everything that reads what others wrote: each target of fuzz/ for FUZZ_SECONDS, and a table.
fuzz: onnxruntime $(CARGO_FUZZ)
	PATH="$(CURDIR)/$(dir $(CARGO_FUZZ)):$$PATH" $(PYTHON) fuzz/run.py --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

$(CARGO_FUZZ):
	$(CARGO) install cargo-fuzz --locked --version $(CARGO_FUZZ_VERSION) --root $(@D)/.. --target-dir target/tools/build
	rm -rf target/tools/build

# What needs the WNUT-17 files: WNUT17_DIR=DIR make corpus-checks
corpus-checks: onnxruntime
	test -n "$(WNUT17_DIR)" || { echo "set WNUT17_DIR to the directory of train.conll, dev.conll and test.conll"; exit 2; }
	$(CARGO) test --locked --release --workspace --test nerve -- corpus

# Opens the pages in headless Chromium through chromedriver; skips where one is missing. Screenshots: target/browser.
browser-test: onnxruntime $(AXE)
	$(if $(shell command -v chromedriver),,-tests/deploy/need chromium chromium-driver fonts-noto-color-emoji)
	$(CARGO) build --locked --release --workspace --bins
	$(CARGO) test --locked --release --workspace --test browser

# axe-core, the rules of accessibility, is one file of the pinned wheel.
$(AXE): tests/browser/requirements.txt
	rm -rf target/tools/axe
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
	    --dest target/tools/axe --requirement $<
	$(PYTHON) -m zipfile -e target/tools/axe/*.whl target/tools/axe

# Compares POST / with the transformers pipeline; WNUT17_DIR adds the corpus' texts. PARITY_VENV names a virtual environment
# that has tests/parity/requirements.txt already.
pipeline-parity: onnxruntime $(if $(PARITY_VENV),,.venv-parity/installed)
	$(CARGO) build --locked --release --workspace --bins
	$(or $(PARITY_VENV),.venv-parity)/bin/python tests/parity/run.py $(PARITY_FLAGS)

# Writes the API contract anew from the server's types.
openapi:
	$(CARGO) run --locked --release --package nerve-server -- openapi > openapi/openapi.json

# Checks every answer of a running server against its own contract.
conformance: onnxruntime .venv-conformance/installed
	$(CARGO) build --locked --release --workspace --bins
	.venv-conformance/bin/python tests/conformance/run.py

# Runs the clients people have against a running server: make clients, or make clients CLIENT=triton
clients: onnxruntime .venv-clients/installed
	$(CARGO) build --locked --release --workspace --bins
	.venv-clients/bin/python tests/clients/run.py $(CLIENT)

# The traces that a server with the feature otlp sends to a collector.
otlp-checks: onnxruntime
	$(CARGO) test --locked --release --workspace --features nerve-server/otlp --test otlp

# What faults, reloads and saturation do to a running server: a table of faults, memory over 100 reloads, health under load.
operations-checks: onnxruntime
	tests/deploy/need strace
	$(CARGO) build --locked --release --workspace --bins
	$(CARGO) test --locked --release --workspace --lib no_fault_loses_a_request -- --nocapture
	$(PYTHON) tests/operations/faults.py
	$(PYTHON) tests/operations/reload.py
	$(PYTHON) tests/operations/saturation.py

# What deploy/ holds, checked by the tools and schemas of those who read it.
deploy-checks: onnxruntime .venv-deploy/installed
	tests/deploy/need haproxy prometheus
	$(CARGO) build --locked --release --workspace --bins
	.venv-deploy/bin/python tests/deploy/metrics.py
	.venv-deploy/bin/python tests/deploy/kubernetes.py
	.venv-deploy/bin/python tests/deploy/compose.py

# Restarts, refreshes, kills and freezes replicas behind HAProxy under load; FAULTS_FLAGS="--rounds 5" does it more often.
deploy-faults: onnxruntime
	tests/deploy/need haproxy
	$(CARGO) build --locked --release --workspace --bins
	$(PYTHON) tests/deploy/haproxy.py --require-reload $(FAULTS_FLAGS)

# Checks that the Dockerfile copies all that it needs, without building the image. `cargo build` states what it needs.
image-check:
	$(CARGO) build --locked --release --workspace --bins
	$(PYTHON) tests/deploy/build_context.py

# Builds the Dockerfile without Docker and runs its image, as root; IMAGE_FLAGS="--prebuilt target/release" compiles nothing.
image-test:
	tests/deploy/need buildah debootstrap
	$(PYTHON) tests/deploy/dockerfile.py $(IMAGE_FLAGS)

.venv-deploy/installed: tests/deploy/requirements.txt
	rm -rf .venv-deploy
	$(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	touch $@

.venv-%/installed: tests/%/requirements.txt
	rm -rf .venv-$*
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@
