# Two stages: everything is built and resolved in the first, the second carries only what runs.
# Any base with Python 3.11 to 3.13 and its venv module does. Pin it by digest where it counts:
# --build-arg BASE_IMAGE=python:3.13-slim@sha256:…
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
ARG UV_VERSION=0.13.9
# Behind a proxy with its own authority: mount the bundle and name it, --build-arg SSL_CERT_FILE=…
ARG SSL_CERT_FILE
WORKDIR /src
RUN python3 -m venv /build && /build/bin/pip install --no-cache-dir "uv==${UV_VERSION}"
# Dependencies first, by hash and as wheels only: this layer stays until one of the two files changes.
COPY pyproject.toml uv.lock ./
RUN /build/bin/uv export --locked --no-dev --extra daemon --no-emit-project --quiet \
        --format requirements-txt --output-file requirements.txt \
    && python3 -m venv --without-pip /app \
    && /build/bin/uv pip install --python /app/bin/python --require-hashes --no-build --no-cache \
        --compile-bytecode -r requirements.txt
COPY README.md LICENSE ./
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
