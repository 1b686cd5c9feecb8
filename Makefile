# `make serve` starts a server with the default model; `make test` builds everything and runs the tests.

PYTHON ?= python3
CARGO ?= cargo
MODEL ?= models/default
LISTEN ?= 127.0.0.1:8080

ORT_VERSION := 1.31.1
# The platforms that `make serve` knows. Columns: operating system and machine (`uname -s`, `uname -m`); platform tag of ONNX Runtime's
# wheel, whose hash is in onnxruntime.txt; the library in the wheel; its name here, where nerve-server looks for it.
ORT_PLATFORMS := \
    Linux-x86_64:manylinux_2_28_x86_64:libonnxruntime.so.$(ORT_VERSION):libonnxruntime.so \
    Linux-aarch64:manylinux_2_28_aarch64:libonnxruntime.so.$(ORT_VERSION):libonnxruntime.so \
    Darwin-arm64:macosx_14_0_arm64:libonnxruntime.$(ORT_VERSION).dylib:libonnxruntime.dylib
PLATFORM ?= $(shell uname -s)-$(shell uname -m)
ORT_ROW := $(subst :, ,$(filter $(PLATFORM):%,$(ORT_PLATFORMS)))
ORT_DIR := .onnxruntime
ORT_LIBRARY := $(ORT_DIR)/$(or $(word 4,$(ORT_ROW)),no-library-for-this-platform)
ORT_CUDA_LIBRARY := .onnxruntime-cuda/libonnxruntime.so
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := target/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ := target/tools/cargo-fuzz-$(CARGO_FUZZ_VERSION)/bin/cargo-fuzz
AXE := target/tools/axe/axe_playwright_python/axe.min.js
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=
export ORT_DYLIB_PATH := $(abspath $(ORT_LIBRARY))

.PHONY: serve test onnxruntime onnxruntime-cuda check deny corpus-checks openapi browser-test bench-check conformance clients pipeline-parity hub-cache deploy-checks deploy-faults image-check image-test platform-check arm64-test fuzz otlp-checks operations-checks object-store-checks engines miri kernels-asan kernels-aarch64

serve: onnxruntime
	$(CARGO) build --locked --release --package nerve-server
	target/release/nerve-server --model $(MODEL) --listen $(LISTEN)

# Every target selects the whole workspace: another selection of packages has other features and compiles dependencies again.
test: onnxruntime
	$(CARGO) build --locked --release --workspace --bins
	$(CARGO) test --locked --release --workspace

# ONNX Runtime's library, extracted from the pinned wheel. The options of pip make the wheel independent of the Python in use.
onnxruntime: $(ORT_LIBRARY)

$(ORT_LIBRARY): onnxruntime.txt
	$(if $(ORT_ROW),,$(error no ONNX Runtime is known for $(PLATFORM), only for $(foreach row,$(ORT_PLATFORMS),$(firstword $(subst :, ,$(row)))); build version $(ORT_VERSION) and name it: nerve-server --onnxruntime LIBRARY))
	rm -rf $(ORT_DIR).tmp
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
	    --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
	    --platform $(word 2,$(ORT_ROW)) --dest $(ORT_DIR).tmp --requirement onnxruntime.txt
	$(PYTHON) -m zipfile -e $(ORT_DIR).tmp/onnxruntime-$(ORT_VERSION)-*.whl $(ORT_DIR).tmp
	mkdir -p $(ORT_DIR)
	mv $(ORT_DIR).tmp/onnxruntime/capi/$(word 3,$(ORT_ROW)) $@
	rm -rf $(ORT_DIR).tmp

# ONNX Runtime for NVIDIA GPUs with the CUDA libraries that it loads: a download of 1.6 GB. nerve-server uses them with
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

# Checks formatting, lints and structure: no cyclic imports, and only those dependencies that tests/structure permits. fuzz/ is not a
# member of the workspace: `update` fails if its lock file lacks a dependency of the workspace.
check:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) update --locked --workspace --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --locked --release --workspace --all-targets -- --deny warnings
	$(CARGO) test --locked --release --workspace --test structure

# Checks and tests the load generator in bench/, which is not a member of the workspace.
bench-check:
	$(CARGO) fmt --manifest-path bench/load/Cargo.toml --check
	$(CARGO) clippy --locked --release --manifest-path bench/load/Cargo.toml --target-dir target/bench-load --all-targets -- --deny warnings
	$(CARGO) test --locked --release --manifest-path bench/load/Cargo.toml --target-dir target/bench-load

# Checks licenses, sources and duplicate versions of the dependencies, and security advisories if their database is reachable.
deny: $(CARGO_DENY)
	$(CARGO_DENY) check licenses bans sources
	if $(CARGO_DENY) fetch db; then $(CARGO_DENY) check advisories; \
	else echo "the advisory database is unreachable; security advisories were not checked"; fi

$(CARGO_DENY):
	$(CARGO) install cargo-deny --locked --version $(CARGO_DENY_VERSION) --no-default-features --root $(@D)/.. --target-dir target/tools/build
	rm -rf target/tools/build

# Runs each fuzz target for FUZZ_SECONDS and prints a table of the results.
fuzz: onnxruntime $(CARGO_FUZZ)
	PATH="$(CURDIR)/$(dir $(CARGO_FUZZ)):$$PATH" $(PYTHON) fuzz/run.py --seconds $(FUZZ_SECONDS) $(FUZZ_TARGETS)

$(CARGO_FUZZ):
	$(CARGO) install cargo-fuzz --locked --version $(CARGO_FUZZ_VERSION) --root $(@D)/.. --target-dir target/tools/build
	rm -rf target/tools/build

# Runs the tests of the kernels under Miri, which finds undefined behavior. It knows the path in portable Rust only,
# and takes too long for the property tests.
MIRI_TESTS := simd::tests::operations encoder::tests --skip encoder::tests::bits_depend
miri:
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { echo "Miri is missing; install it with: rustup toolchain install nightly --component miri,rust-src"; exit 2; }
	$(CARGO) +nightly miri test --locked --package nerve-kernels --lib --target-dir target/miri -- $(MIRI_TESTS)

# Runs the tests of the kernels with AddressSanitizer, on every path of this processor. Needs Rust's nightly toolchain.
kernels-asan:
	@$(CARGO) +nightly --version >/dev/null 2>&1 || { echo "the nightly toolchain is missing; install it with: rustup toolchain install nightly"; exit 2; }
	RUSTFLAGS=-Zsanitizer=address $(CARGO) +nightly test --locked --release --package nerve-kernels --lib \
	    --target $(shell uname -m)-unknown-linux-gnu --target-dir target/asan

# Runs the tests of the kernels on an emulated aarch64 processor.
AARCH64 := aarch64-unknown-linux-gnu
kernels-aarch64:
	@test -d "$$(rustc --print target-libdir --target $(AARCH64))" || { echo "Rust's library for aarch64 is missing; install it with: rustup target add $(AARCH64)"; exit 2; }
	@command -v aarch64-linux-gnu-gcc >/dev/null || { echo "a linker for aarch64 is missing; install it with: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"; exit 2; }
	@command -v qemu-aarch64-static >/dev/null || { echo "the emulator is missing; install it with: apt-get install qemu-user-static"; exit 2; }
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu" \
	    NERVE_INSTRUCTION_SET=neon-dotprod \
	    $(CARGO) test --locked --release --package nerve-kernels --lib --target $(AARCH64) --target-dir target/aarch64

# Serves the default model on an emulated arm64 processor, with a nerve-server compiled for it, and compares answers.
arm64-test: onnxruntime
	tests/deploy/need gcc-aarch64-linux-gnu libc6-dev-arm64-cross libstdc++6-arm64-cross qemu-user-static
	@test -d "$$(rustc --print target-libdir --target $(AARCH64))" || { echo "Rust's library for aarch64 is missing; install it with: rustup target add $(AARCH64)"; exit 2; }
	$(MAKE) onnxruntime PLATFORM=Linux-aarch64 ORT_DIR=target/aarch64/.onnxruntime
	$(CARGO) build --locked --release --workspace --bins
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	    $(CARGO) build --locked --release --package nerve-server --target $(AARCH64) --target-dir target/aarch64
	$(PYTHON) tests/deploy/arm64.py

# The tests that read the WNUT-17 corpus: WNUT17_DIR=DIR make corpus-checks
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

# Compares the answers of POST / with those of the transformers pipeline. WNUT17_DIR adds the texts of that corpus. PARITY_VENV
# names a virtual environment in which tests/parity/requirements.txt is installed.
pipeline-parity: onnxruntime $(if $(PARITY_VENV),,.venv-parity/installed)
	$(CARGO) build --locked --release --workspace --bins
	$(or $(PARITY_VENV),.venv-parity)/bin/python tests/parity/run.py $(PARITY_FLAGS)

# Shares a cache of the Hugging Face hub with Python's huggingface_hub, on a local hub.
hub-cache: onnxruntime .venv-hub/installed
	NERVE_HUB_PYTHON=$(CURDIR)/.venv-hub/bin/python $(CARGO) test --locked --release --workspace --lib hub::tests::python -- --ignored

# Generates the API contract from the server's types.
openapi:
	$(CARGO) run --locked --release --package nerve-server -- openapi > openapi/openapi.json

# Checks the answers of a running server against the API contract.
conformance: onnxruntime .venv-conformance/installed
	$(CARGO) build --locked --release --workspace --bins
	.venv-conformance/bin/python tests/conformance/run.py

# Runs existing client libraries against a running server: make clients, or make clients CLIENT=triton
clients: onnxruntime .venv-clients/installed .venv-mlserver/installed
	$(CARGO) build --locked --release --workspace --bins
	.venv-clients/bin/python tests/clients/run.py $(CLIENT)

# Checks the traces that a server with the feature `otlp` sends to a collector.
otlp-checks: onnxruntime
	$(CARGO) test --locked --release --workspace --features nerve-server/otlp --test otlp

# Tests a running server under faults (prints a table), over 100 reloads (memory use), under saturation (health checks) and beside
# texts that are expensive to split (response times).
operations-checks: onnxruntime
	tests/deploy/need strace
	$(CARGO) build --locked --release --workspace --bins
	$(CARGO) test --locked --release --workspace --lib no_fault_loses_a_request -- --nocapture
	$(PYTHON) tests/operations/faults.py
	$(PYTHON) tests/operations/reload.py
	$(PYTHON) tests/operations/saturation.py
	$(PYTHON) tests/operations/cost.py
	$(PYTHON) tests/operations/memory.py

# Two servers follow a store on an S3 server under load and faults; prints a table. OBJECT_STORE_FLAGS="--publications 20" shortens it.
object-store-checks: onnxruntime .venv-object_store/installed
	$(CARGO) build --locked --release --workspace --bins
	.venv-object_store/bin/python tests/object_store/run.py $(OBJECT_STORE_FLAGS)

# Validates the files in deploy/ with HAProxy, Prometheus, and the schemas of Kubernetes, KServe and Compose.
deploy-checks: onnxruntime .venv-deploy/installed
	tests/deploy/need haproxy prometheus
	$(CARGO) build --locked --release --workspace --bins
	.venv-deploy/bin/python tests/deploy/metrics.py
	.venv-deploy/bin/python tests/deploy/kubernetes.py
	.venv-deploy/bin/python tests/deploy/compose.py

# Restarts, reloads, kills and suspends replicas behind HAProxy under load; FAULTS_FLAGS="--rounds 5" repeats this five times.
deploy-faults: onnxruntime
	tests/deploy/need haproxy
	$(CARGO) build --locked --release --workspace --bins
	$(PYTHON) tests/deploy/haproxy.py --require-reload $(FAULTS_FLAGS)

# Checks, without downloading anything, what `make serve` would do on each platform.
platform-check:
	$(PYTHON) tests/deploy/platforms.py

# Runs deploy/spark and deploy/ray on this machine, kills executors, actors and processes, and compares the rows with those of one
# `nerve-server tag`: make engines, or make engines ENGINE=spark. Needs Java 17 for Spark.
engines: onnxruntime .venv-engines/installed
	$(if $(shell command -v java),,tests/deploy/need openjdk-17-jre-headless)
	$(CARGO) build --locked --release --workspace --bins
	.venv-engines/bin/python tests/engines/run.py $(ENGINE)

# Checks, without building the image, that the Dockerfile copies every file that it needs. `cargo build` records which those are.
image-check:
	$(CARGO) build --locked --release --workspace --bins
	$(PYTHON) tests/deploy/build_context.py

# Builds the image without Docker and runs it; needs root. IMAGE_FLAGS="--prebuilt target/release" uses an existing nerve-server.
image-test: onnxruntime .venv-object_store/installed
	tests/deploy/need buildah debootstrap haproxy
	$(CARGO) build --locked --release --workspace --bins
	$(PYTHON) tests/deploy/dockerfile.py $(IMAGE_FLAGS)

.venv-deploy/installed: tests/deploy/requirements.txt
	rm -rf .venv-deploy
	$(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	touch $@

.venv-mlserver/installed: tests/clients/mlserver-requirements.txt
	rm -rf .venv-mlserver
	$(PYTHON) -m venv .venv-mlserver
	.venv-mlserver/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

.venv-%/installed: tests/%/requirements.txt
	rm -rf .venv-$*
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@
