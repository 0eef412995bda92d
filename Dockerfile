# mlpserve as an image, on Debian 12.
#   docker build --target cpu -t mlpserve:cpu .
#   docker build --target cuda -t mlpserve:cuda .                                   GPU kernels; the driver is the host's
#   docker build --target cuda --build-arg CUBLASLT=ON -t mlpserve:cuda-cublaslt .  with cuBLASLt's products as candidates
# deploy/image/build does the same without a Docker daemon; docs/deployment.md says how to run it.
ARG BASE=docker.io/library/debian:12-slim

FROM ${BASE} AS tools
WORKDIR /src
COPY deploy/install-dependencies deploy/progress.sh deploy/
RUN deploy/install-dependencies
# What ccache keys: the same as where the tests build.
ENV CCACHE_DIR=/ccache CCACHE_BASEDIR=/src CCACHE_NOHASHDIR=1 LANG=C.UTF-8

FROM tools AS build-cpu
COPY . .
ARG COMMIT=
RUN --mount=type=cache,target=/ccache \
    deploy/image/compile /out -DMLPSERVE_CUDA=OFF -DMLPSERVE_COMMIT="${COMMIT}"

# What runs a program that build-cpu linked, and the user that it runs as.
FROM ${BASE} AS runtime
# The packages are Debian 12's own and follow its security updates.
# hadolint ignore=DL3008
RUN --mount=type=bind,from=build-cpu,source=/out,target=/out \
    apt-get update && \
    xargs -r apt-get install -y --no-install-recommends </out/packages && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb && \
    groupadd --gid 65532 mlpserve && \
    useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin mlpserve && \
    install -d -o mlpserve -g mlpserve /var/cache/mlpserve
# The kernel cache is /var/cache/mlpserve.
ENV XDG_CACHE_HOME=/var/cache
USER 65532:65532
EXPOSE 8001 8002
STOPSIGNAL SIGTERM
# Loading a wide block for the first time compiles and measures its kernels.
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
    CMD ["mlpserve-client", "--deadline-ms", "2000", "status"]
# Flags given to `docker run IMAGE` are added to these.
ENTRYPOINT ["mlpserve", "--model-repository", "/models", "--grpc-address", "0.0.0.0:8001", "--http-address", "0.0.0.0:8002"]
LABEL org.opencontainers.image.title="mlpserve" \
      org.opencontainers.image.description="A gRPC inference server for MLP blocks, of the Open Inference Protocol"

FROM runtime AS cpu
ARG COMMIT=
ARG VERSION=
LABEL org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build-cpu /out/bin/ /usr/local/bin/

# What CMake and the headers ask of a CUDA toolkit, and what an image runs with, as NVIDIA publishes them on PyPI. CUDA
# 13.0 runs with drivers from 580 on.
FROM tools AS cuda-toolkit
ARG NVRTC=nvidia-cuda-nvrtc==13.0.88
ARG CUBLAS=nvidia-cublas==13.1.0.3
ARG TOOLKIT="nvidia-cuda-runtime==13.0.96 nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85"
COPY deploy/image/cuda-toolkit deploy/image/
RUN deploy/image/cuda-toolkit /opt/cuda "${NVRTC}" "${CUBLAS}" ${TOOLKIT}

FROM cuda-toolkit AS build-cuda
COPY . .
ARG COMMIT=
ARG CUBLASLT=OFF
RUN --mount=type=cache,target=/ccache \
    deploy/image/compile /out -DMLPSERVE_CUDA=ON -DCUDAToolkit_ROOT=/opt/cuda -DMLPSERVE_COMMIT="${COMMIT}" && \
    deploy/image/cuda-libraries /opt/cuda /out/lib "${CUBLASLT}"

FROM runtime AS cuda
ARG COMMIT=
ARG VERSION=
LABEL org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build-cuda /out/bin/ /usr/local/bin/
COPY --from=build-cuda /out/lib/ /usr/local/lib/
USER 0
RUN ldconfig
USER 65532:65532
# What NVIDIA's container runtime brings in: the driver.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
