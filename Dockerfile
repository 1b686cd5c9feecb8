# The image of nerve-server: `docker build .` for CPUs, `docker build --target cuda .` for NVIDIA GPUs (BuildKit, which Docker
# uses by default since 23.0). deploy/README.md explains how to run it. `make image-check` checks this file without building
# it; `make image-test` builds and runs the image without Docker.

ARG RUST=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST}-slim-${DEBIAN} AS build
WORKDIR /build
# The workspace's release profile keeps line tables, which are two thirds of the binary.
ENV CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=symbols
COPY . .
# The cache mounts keep downloaded crates and compiled dependencies between builds. Cargo compares modification times, and the
# copied sources can be older than what an earlier build left in the cache: `touch` makes cargo compile this workspace again.
RUN --mount=type=cache,id=nerve-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=nerve-target,target=/build/target,sharing=locked \
    find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
    && cargo build --locked --release --package nerve-server \
    && cp target/release/nerve-server /usr/local/bin/nerve-server

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
COPY --from=build /usr/local/bin/nerve-server /usr/local/bin/nerve-server
ENV NERVE_LISTEN=0.0.0.0:8080 \
    NERVE_LOG=json \
    NERVE_MODEL=/opt/nerve/model \
    NERVE_ONNXRUNTIME=/opt/nerve/lib/libonnxruntime.so
EXPOSE 8080
# A numeric user lets Kubernetes verify that the container does not run as root. The server writes no files.
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
