# A stand-in for `redis:7.4` where nothing can be pulled: Debian's Redis under the same name and user.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
USER root
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends redis-server > /dev/null \
    && rm -rf /var/lib/apt/lists/*
USER 999:999
