# The image of the ranks: torch with CUDA 13, NCCL and cuDNN, all from hashed wheels, and DeepSpeed. The GPU's driver comes
# from the node. DeepSpeed's own kernels are not built, since the engine uses torch's. A job, not a server: no HEALTHCHECK.
#
#   podman build --file k8s/images/training.Dockerfile --build-arg COMMIT="$(git rev-parse HEAD)" --tag starloom-training:dev .
#
# For a release give PYTHON_IMAGE by its digest. On AWS, EFA needs libfabric and the aws-ofi-nccl plugin of the node image's
# version: put them into an image of your own FROM this one. To renew the lock:
#   uv pip compile --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
#     --constraint requirements.lock --custom-compile-command 'the command in k8s/images/training.Dockerfile' \
#     pyproject.toml -o k8s/images/training.lock
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.9
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /build
COPY k8s/images/training.lock .
RUN python -m venv --without-pip /opt/venv \
    && DS_BUILD_OPS=0 /opt/uv/bin/uv pip install --python /opt/venv/bin/python --no-cache --no-deps --require-hashes \
       --compile-bytecode --requirements training.lock
COPY . /app
# Byte code checked by its source's hash: a file system that rounds times would have every import compile again.
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode checked-hash /app

FROM ${PYTHON_IMAGE}
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="starloom training" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
# gcc for the launchers that triton compiles, the verbs libraries for NCCL over InfiniBand.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev git ibverbs-providers libibverbs1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home --home-dir /home/starloom starloom \
    && git config --system --add safe.directory /workspace
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/home/starloom \
    DVC_SITE_CACHE_DIR=/tmp/dvc \
    NUMBA_CACHE_DIR=/tmp/numba \
    TRITON_CACHE_DIR=/tmp/triton \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /workspace
CMD ["python", "-m", "components", "--help"]
