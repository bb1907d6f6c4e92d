# syntax=docker/dockerfile:1
# Two stages: everything is built and resolved in the first, the second carries only what runs.
# Pin the base by digest where it counts: --build-arg BASE_IMAGE=python:3.13-slim@sha256:…
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
RUN python3 -m venv /build && /build/bin/pip install --no-cache-dir uv
COPY pyproject.toml uv.lock README.md LICENSE ./
# Dependencies first, by hash: this layer stays until the lock file changes.
RUN /build/bin/uv export --locked --no-dev --extra daemon --no-emit-project --quiet \
        --format requirements-txt --output-file requirements.txt \
    && python3 -m venv /app \
    && /build/bin/uv pip install --python /app/bin/python --require-hashes --no-cache \
        --compile-bytecode -r requirements.txt
COPY scaler scaler
COPY metrics metrics
COPY policies policies
RUN /build/bin/uv pip install --python /app/bin/python --no-deps --no-cache --compile-bytecode .

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="ascension-scaler" \
      org.opencontainers.image.description="Queue-driven autoscaler for EC2 Auto Scaling groups and ECS services" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ASCENSION_CONFIG=/etc/ascension-scaler
# No name, no home, no shell needed: the file system may be read-only.
USER 65532:65532
EXPOSE 9108
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
    CMD ["ascension-scaler", "healthcheck"]
ENTRYPOINT ["ascension-scaler"]
CMD ["run"]
