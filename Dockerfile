# The operator's image: one static program and the certificates of public authorities; no shell, no libraries.
#
#   make image IMAGE=registry.example.com/pleo-operator:0.1.0
#
# or docker, podman or buildah by hand. It builds for the machine that it runs on, amd64 or arm64. It needs nothing of
# BuildKit; `docker build --platform` with emulation works, too.

# Any image with Rust 1.95 or newer and a shell. Debian packages are added if it has no C compiler.
ARG BUILD_IMAGE=rust:1.95-slim-bookworm
# What the program is put on. A static program needs nothing; name another if you must have a shell.
ARG BASE_IMAGE=scratch

FROM ${BUILD_IMAGE} AS build
WORKDIR /build

# ring compiles some C.
RUN { command -v cc && [ -e /etc/ssl/certs/ca-certificates.crt ]; } >/dev/null || { \
        apt-get update && \
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc libc6-dev ca-certificates && \
        rm -rf /var/lib/apt/lists/*; \
    }

# First what is used, without our sources: as long as neither changes, this layer, which takes most of the time, comes
# from the cache. Cargo wants each package of the workspace, and each target that a manifest names, to have a file.
COPY Cargo.toml Cargo.lock ./
COPY crates/apiserver/Cargo.toml crates/apiserver/
COPY crates/sandbox/Cargo.toml crates/sandbox/
COPY crates/testbed/Cargo.toml crates/testbed/
COPY crates/test-support/Cargo.toml crates/test-support/
# A static program. The target is named, though it is this machine's, because flags do not reach build scripts and macros
# then: those cannot be static.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN set -eu; \
    for file in src/lib.rs src/main.rs crates/apiserver/src/lib.rs crates/sandbox/src/lib.rs crates/testbed/src/lib.rs crates/test-support/src/lib.rs \
        $(sed -n 's/^path = "\(.*\.rs\)"$/\1/p' Cargo.toml crates/*/Cargo.toml); do \
        mkdir -p "$(dirname "$file")"; \
        echo 'fn main() {}' > "$file"; \
    done; \
    : > src/lib.rs; \
    cargo build --release --locked --target "$(rustc -vV | sed -n 's/^host: //p')" --bin pleo-operator

COPY src src
# The plugin prints it.
COPY examples/consumers/proxy.yaml examples/consumers/
# Files of a context keep their time, which may be before that of the empty ones; Cargo goes by it.
RUN set -eu; \
    touch src/lib.rs src/main.rs; \
    host=$(rustc -vV | sed -n 's/^host: //p'); \
    cargo build --release --locked --target "$host" --bin pleo-operator; \
    cp "target/$host/release/pleo-operator" /pleo-operator; \
    /pleo-operator version

FROM ${BASE_IMAGE}
ARG VERSION=
ARG REVISION=
ARG CREATED=
# Where your copy of the sources is.
ARG SOURCE=https://git.example.com/pleo-operator
LABEL org.opencontainers.image.title="pleo-operator" \
      org.opencontainers.image.description="Keeps Pleo OAuth 2.0 tokens fresh in Kubernetes Secrets" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /pleo-operator /pleo-operator
# As a number, so that Kubernetes can tell that it is not root.
USER 65532:65532
# /livez, /readyz, /metrics
EXPOSE 8080
ENTRYPOINT ["/pleo-operator"]
