# The services in a slim image that holds no compiler and no pip, runs as nobody in particular, and
# needs no file system that it may write to but the volume for its panic dumps.
#
#   docker build -t teltonika-processor:0.1.0 .
#   docker run --read-only --tmpfs /tmp -e REDIS_URL=... -e DATABASE_URL=... teltonika-processor:0.1.0
#
# Every step of the build stage stands in docker/build.sh, which the test suite runs.
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
RUN ["docker/build.sh", "state", "/state"]

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="teltonika-processor" \
    org.opencontainers.image.description="Teltonika tracker frames from a Redis stream into Postgres" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0"
RUN ["python3", "-m", "pip", "uninstall", "--yes", "--quiet", "--root-user-action=ignore", "pip"]
# The base image has no bytecode of the standard library, and nobody may write any later: without it
# a start and each health check would compile what they import, which doubles the time of a start.
RUN ["python3", "-c", "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=1)"]
COPY --from=build /opt/teltonika-processor /opt/teltonika-processor
# An empty named volume takes the owner of the directory that it is mounted over.
COPY --from=build --chown=65532:65532 /state/teltonika-processor /var/lib/teltonika-processor
# USER: the name by which Postgres is asked where DATABASE_URL has none; no user of the image has one.
ENV PATH=/opt/teltonika-processor/bin:$PATH \
    USER=teltonika-processor \
    HTTP_HOST=0.0.0.0 \
    HTTP_PORT=9105 \
    PANIC_DUMP_DIR=/var/lib/teltonika-processor/panic-dumps
USER 65532:65532
WORKDIR /tmp
VOLUME ["/var/lib/teltonika-processor/panic-dumps"]
# The endpoint of the processor and of the gateway, and where devices connect.
EXPOSE 9105 9106 5027/tcp 5027/udp
STOPSIGNAL SIGTERM
# Whether the process lives. Not --ready: while Redis or Postgres is away a restart helps nobody.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["/opt/teltonika-processor/bin/teltonika-processor", "health"]
# Process 1 passes signals on. The service in its place would get none until its handlers are there.
ENTRYPOINT ["/opt/teltonika-processor/bin/dumb-init", "--", "/opt/teltonika-processor/bin/teltonika-processor"]
CMD ["run"]
