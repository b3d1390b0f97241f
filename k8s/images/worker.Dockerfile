# The platform's image without torch: Prefect server, MLflow, the worker, flow runs, Ray nodes, backups. What a container
# of it is, its command says; so it has no HEALTHCHECK, and the probes of the manifests ask each server where it answers.
#
#   podman build --file k8s/images/worker.Dockerfile --build-arg COMMIT="$(git rev-parse HEAD)" --tag starloom-worker:dev .
#
# For a release give PYTHON_IMAGE by its digest. To renew the lock, which takes every version from requirements.lock:
#   uv pip compile --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
#     --excludes k8s/images/worker.excludes --constraint requirements.lock \
#     --custom-compile-command 'the command in k8s/images/worker.Dockerfile' \
#     pyproject.toml k8s/images/worker.in -o k8s/images/worker.lock
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.9
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /build
COPY k8s/images/worker.lock .
RUN python -m venv --without-pip /opt/venv \
    && /opt/uv/bin/uv pip install --python /opt/venv/bin/python --no-cache --no-deps --require-hashes --compile-bytecode \
       --requirements worker.lock
COPY . /app
# Byte code checked by its source's hash: a file system that rounds times would have every import compile again.
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode checked-hash /app

FROM ${PYTHON_IMAGE}
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="starloom worker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home --home-dir /home/starloom starloom \
    && git config --system --add safe.directory /workspace
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
# The root file system is read-only where this runs: what writes, writes under the home or /tmp.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/home/starloom \
    DVC_SITE_CACHE_DIR=/tmp/dvc \
    NUMBA_CACHE_DIR=/tmp/numba \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=1
USER 10001:10001
WORKDIR /workspace
CMD ["python", "-m", "flows.command_line", "--help"]
