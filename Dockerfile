# The service in a slim image that runs as nobody in particular and holds no compiler and no pip.
#
#   docker build -t teltonika-processor .
#   docker run --init --env-file .env teltonika-processor
#
# Every step stands in docker/build.sh, which the test suite runs.
ARG PYTHON=3.13
ARG RUST=1.95

FROM rust:${RUST}-slim-bookworm AS rust

FROM python:${PYTHON}-bookworm AS build
COPY --from=rust /usr/local/cargo /usr/local/cargo
COPY --from=rust /usr/local/rustup /usr/local/rustup
ENV CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup PATH=/usr/local/cargo/bin:$PATH
WORKDIR /source
COPY Cargo.toml Cargo.lock pyproject.toml README.md LICENSE-MIT LICENSE-APACHE ./
COPY docker docker
COPY requirements requirements
COPY scripts scripts
COPY rust rust
COPY python python
RUN ["docker/build.sh", "wheel", "/wheel"]
RUN ["docker/build.sh", "install", "/opt/teltonika-processor", "/wheel"]

FROM python:${PYTHON}-slim-bookworm
COPY --from=build /opt/teltonika-processor /opt/teltonika-processor
USER 65532:65532
WORKDIR /tmp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/teltonika-processor/bin/teltonika-processor"]
CMD ["run"]
