# The base is an argument: the CUDA runtime by default, any Debian 12 or Ubuntu 24.04 for a machine without a GPU:
#   docker build --build-arg BASE=debian:bookworm-slim --build-arg GPU=0 .
ARG BASE=nvidia/cuda:13.0.1-runtime-ubuntu24.04

# hadolint ignore=DL3006
FROM ${BASE} AS build
ARG GPU=1
ARG TORCH_INDEX=""
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates g++ gcc libc6-dev python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements/ requirements/
COPY package.json package-lock.json ./
COPY static/icons.txt static/
COPY scripts/ scripts/
# Not tuned to the processor that builds it: an image runs elsewhere too, where llama.cpp is tested at its first use.
# There is no driver while an image is built.
RUN BUILDING_IMAGE=1 CMAKE_ARGS=-DGGML_NATIVE=OFF PIP_NO_CACHE_DIR=1 python3 scripts/setup.py \
    && .venv/bin/pip uninstall --yes --requirement requirements/build.txt \
    && rm -rf .tools/browser .tools/node logs

# hadolint ignore=DL3006
FROM ${BASE}
ARG GPU=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# On a GPU triton compiles its kernels while it runs and needs a C compiler for that; a CPU image has none.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap ca-certificates libgomp1 python3 \
    && if [ "${GPU}" = 1 ]; then apt-get install -y --no-install-recommends gcc libc6-dev python3-dev; fi \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --create-home --shell /usr/sbin/nologin tunesmith \
    && mkdir -p /data/cache/models /data/configs /data/uploads /data/outputs /data/exports /data/logs \
    && chown -R tunesmith:tunesmith /data
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY --from=build /app/.tools .tools
COPY --from=build /app/static/vendor static/vendor
COPY --from=build --chown=tunesmith:tunesmith /app/cache/models /data/cache/models
COPY . .
ENV PATH=/app/.venv/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TUNESMITH_HOME=/data HOST=0.0.0.0 PORT=5000
USER 10001
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=4)"]
CMD ["python", "flask_app.py"]
