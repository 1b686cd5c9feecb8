# Nerve in a container: `docker build .` for CPUs, `docker build --target cuda .` for NVIDIA GPUs; deploy/README.md says how
# to run it. tests/deploy/dockerfile.py builds and runs it where there is no Docker.

ARG RUST=1.95
ARG DEBIAN=bookworm

# The dependencies, compiled from the manifests and the lock alone: a change of sources leaves these layers as they are.
FROM rust:${RUST}-slim-${DEBIAN} AS dependencies
WORKDIR /build
# The workspace's profile keeps line tables, which are two thirds of the binary.
ENV CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=symbols
COPY Cargo.toml Cargo.lock ./
COPY tagging/Cargo.toml tagging/
COPY export/Cargo.toml export/
COPY trainer/Cargo.toml trainer/
COPY server/Cargo.toml server/
COPY tests/Cargo.toml tests/
# Cargo opens a workspace only if every member has something to compile.
RUN for member in tagging export trainer server; do mkdir $member/src && touch $member/src/lib.rs; done \
    && touch tests/main.rs \
    && cargo build --locked --release --package nerve-server

FROM dependencies AS build
COPY tagging/src tagging/src
COPY export/src export/src
COPY server/assets server/assets
COPY server/src server/src
# Cargo goes by modification times, and what was copied may be older than the empty files it replaces.
RUN touch tagging/src/lib.rs export/src/lib.rs server/src/lib.rs \
    && cargo build --locked --release --package nerve-server

FROM debian:${DEBIAN}-slim AS wheels
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates make python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Makefile ./

FROM wheels AS onnxruntime
COPY onnxruntime.txt ./
RUN make onnxruntime

FROM wheels AS onnxruntime-cuda
COPY onnxruntime-cuda.txt ./
RUN make onnxruntime-cuda

FROM debian:${DEBIAN}-slim AS runtime
COPY LICENSE NOTICE /opt/nerve/
COPY models/default /opt/nerve/model
COPY --from=build /build/target/release/nerve-server /usr/local/bin/nerve-server
ENV NERVE_LISTEN=0.0.0.0:8080 \
    NERVE_LOG=json \
    NERVE_MODEL=/opt/nerve/model \
    NERVE_ONNXRUNTIME=/opt/nerve/lib/libonnxruntime.so
EXPOSE 8080
# A number, so that Kubernetes can tell that it is not root; the server writes no file.
USER 65532:65532
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["nerve-server", "healthcheck"]
ENTRYPOINT ["nerve-server"]

FROM runtime AS cuda
COPY --from=onnxruntime-cuda /build/.onnxruntime-cuda /opt/nerve/lib
ENV LD_LIBRARY_PATH=/opt/nerve/lib \
    NERVE_DEVICE=cuda \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all

FROM runtime AS cpu
COPY --from=onnxruntime /build/.onnxruntime/libonnxruntime.so /opt/nerve/lib/libonnxruntime.so
