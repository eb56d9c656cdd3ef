# The node daemon. `make image` builds it with buildah or docker, and knows how to do without a registry.
#
# Debian, not Alpine: protobuf has no musl wheel and would silently be pure Python there.
# Any Debian base with python3 (3.11 or newer) and its venv module will do.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build

# Tables of product names: data without code, so the newest is wanted and no version pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libdrm-common pci.ids \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir -p /names/usr/share/libdrm /names/usr/share/misc \
    && cp -L /usr/share/libdrm/amdgpu.ids /names/usr/share/libdrm/ \
    && cp -L /usr/share/misc/pci.ids /names/usr/share/misc/

# Wheels only, each known by its hash. A pip.conf and a certificate can be lent for a mirror of the package index.
COPY requirements/run.txt /src/requirements/run.txt
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    python3 -m venv /opt/amdgpu-plugin \
    && /opt/amdgpu-plugin/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check \
        --only-binary :all: --no-deps --require-hashes --requirement /src/requirements/run.txt

# pip and setuptools have done their work. The bytecode is not tied to times, which layers cut to seconds.
COPY LICENSE README.md pyproject.toml /src/
COPY amdgpu_plugin /src/amdgpu_plugin
RUN /opt/amdgpu-plugin/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check \
        --no-index --no-deps --no-build-isolation /src \
    && /opt/amdgpu-plugin/bin/pip uninstall --yes --quiet --disable-pip-version-check setuptools pip \
    && /opt/amdgpu-plugin/bin/python3 -m compileall -q --invalidation-mode unchecked-hash \
        /opt/amdgpu-plugin/lib

FROM ${BASE_IMAGE}

# Python's own bytecode, where the base has none: the root is read-only, so it could never be kept later.
RUN ["python3", "-c", "import compileall, re, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=2, rx=re.compile('/(test|tests|idlelib|lib2to3|tkinter|turtledemo|ensurepip|site-packages|dist-packages)/'))"]

COPY --from=build /names /
COPY --from=build /opt/amdgpu-plugin /opt/amdgpu-plugin

ENV PATH=/opt/amdgpu-plugin/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1

# root, without capabilities: the kubelet's directories belong to it.
ENTRYPOINT ["/opt/amdgpu-plugin/bin/amdgpu-plugin"]
CMD ["run"]

# Last, for they change with every build.
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="amdgpu-plugin" \
    org.opencontainers.image.description="Kubernetes device plugin for AMD GPUs" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"
