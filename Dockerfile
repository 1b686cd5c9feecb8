# The image of nerve-server: `docker build .` for CPUs, `docker build --target cuda .` for NVIDIA GPUs, `--platform linux/arm64`
# for ARM. deploy/README.md explains how to run it. `make image-check` checks this file without building it; `make image-test`
# builds and runs the image without Docker.

ARG RUST=1.95
ARG DEBIAN=bookworm

# What cargo compiles the dependencies from: the manifests, the lock file, and an empty program in place of each target. A change
# of a source file changes none of these, nor the time that they carry.
FROM rust:${RUST}-slim-${DEBIAN} AS manifests
WORKDIR /build
COPY . .
RUN cargo metadata --no-deps --format-version=1 | grep -o '"src_path":"[^"]*' | cut -d'"' -f4 > ../targets \
    && find . -type f ! -name Cargo.toml ! -name Cargo.lock -delete \
    && while read -r target; do echo 'fn main() {}' > "$target"; done < ../targets \
    && find . -type d -empty -delete \
    && find . -exec touch --date=2000-01-01 {} +

FROM rust:${RUST}-slim-${DEBIAN} AS build
WORKDIR /build
# The workspace's release profile keeps line tables, which are two thirds of the binary.
ENV CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=symbols
# The layer of the compiled dependencies. It is valid until a manifest or the lock file changes.
COPY --from=manifests /build .
RUN cargo build --locked --release --package nerve-server
# Cargo compares modification times, and sources can be older than the empty programs compiled before: `touch` makes cargo compile
# this workspace again.
COPY . .
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + \
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

# What the server needs of Debian: the libraries of C and C++, zlib (for cuDNN), the certificate authorities, and the names of the
# system, its users and its packages, which security scanners read. There is no shell and no package manager.
FROM debian:${DEBIAN}-slim AS system
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libgcc-s1 libstdc++6 zlib1g
RUN mkdir -p /system/etc /system/usr/lib /system/usr/lib64 /system/var/lib/dpkg \
    && ln -s usr/lib usr/lib64 /system \
    && dpkg --listfiles libc6 libgcc-s1 libstdc++6 zlib1g | grep -E '^(/usr)?/lib[0-9]*/([^/]+/)?[^/]+\.so[^/]*$' \
        | xargs cp --archive --parents --target-directory=/system \
    && cp --parents --target-directory=/system /etc/debian_version /etc/nsswitch.conf /etc/os-release /etc/ssl/certs/ca-certificates.crt \
        /usr/share/doc/ca-certificates/copyright /usr/share/doc/gcc-*-base/copyright /usr/share/doc/libc6/copyright \
        /usr/share/doc/zlib1g/copyright \
    && dpkg-query --status ca-certificates libc6 libgcc-s1 libstdc++6 zlib1g > /system/var/lib/dpkg/status \
    && printf 'root:x:0:0::/:/nologin\nnerve:x:65532:65532::/var/cache/nerve:/nologin\n' > /system/etc/passwd \
    && printf 'root:x:0:\nnerve:x:65532:\n' > /system/etc/group \
    && mkdir --mode=1777 /system/tmp && mkdir /cache

FROM scratch AS runtime
COPY --from=system /system /
COPY --from=system --chown=65532:65532 /cache /var/cache/nerve
COPY LICENSE NOTICE /opt/nerve/
COPY models/default /opt/nerve/model
COPY --from=build /usr/local/bin/nerve-server /usr/local/bin/nerve-server
ENV PATH=/usr/local/bin \
    HOME=/var/cache/nerve \
    NERVE_CACHE=/var/cache/nerve \
    NERVE_LISTEN=0.0.0.0:8080 \
    NERVE_LOG=json \
    NERVE_MODEL=/opt/nerve/model \
    NERVE_ONNXRUNTIME=/opt/nerve/lib/libonnxruntime.so
EXPOSE 8080
# Downloaded and exported models. A bundle on disk needs no cache: the server then writes no files.
VOLUME /var/cache/nerve
# A numeric user lets Kubernetes verify that the container does not run as root.
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
