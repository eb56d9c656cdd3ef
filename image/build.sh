#!/usr/bin/env bash
# Builds the image with buildah, or else docker, checks that it starts, and prints what it adds to its base.
#
#   IMAGE=NAME       its name; default localhost/amdgpu-plugin:<version>
#   BASE_IMAGE=NAME  what it is built on, in a registry or local. Empty: made here by debootstrap (base.sh; as root).
#                    Not given: the Dockerfile's, and where that cannot be pulled, one made here
#   ARCHIVE=FILE     write it there as well, as `docker load` and `ctr images import` read it
#   PLATFORM=OS/ARCH for another machine, as in linux/arm64 (needs qemu's binfmt handlers)
#   ENGINE=NAME      buildah or docker
#   PIP_INDEX_URL, PIP_CERT  a mirror of the package index, and whom to trust there; neither ends in the image
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "image: $*" >&2; exit 1; }
say() { echo "image: $*" >&2; }

choose_engine() {
    if command -v buildah > /dev/null; then
        echo buildah
    elif docker info > /dev/null 2>&1; then
        echo docker
    else
        die "needs buildah, or docker with its daemon running; on Debian: apt-get install buildah"
    fi
}

has_image() { "$engine" inspect --type image "$1" > /dev/null 2>&1; }

choose_base() {
    if [ -n "${BASE_IMAGE-}" ]; then
        echo "$BASE_IMAGE"
        return
    fi
    if [ -z "${BASE_IMAGE+given}" ]; then
        local published
        published=$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile)
        if has_image "$published" || "$engine" pull "$published" > /dev/null 2>&1; then
            echo "$published"
            return
        fi
        say "$published cannot be pulled: making a base here instead"
    fi
    command -v debootstrap > /dev/null || die "a base made here needs debootstrap; on Debian: apt-get install debootstrap"
    [ "$(id -u)" = 0 ] || die "a base made here needs root; or name one: BASE_IMAGE=…"
    image/base.sh "$engine"
}

# What pip needs to reach the index from inside; lent to the build, so it stays out of every layer.
lend_pip_settings() {
    local certificates=${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}
    echo '[global]' > "$scratch/pip.conf"
    if [ -n "${PIP_INDEX_URL-}" ]; then
        echo "index-url = $PIP_INDEX_URL" >> "$scratch/pip.conf"
    fi
    if [ -f "$certificates" ]; then
        echo 'cert = /run/secrets/ca.crt' >> "$scratch/pip.conf"
        options+=(--secret "id=ca.crt,src=$certificates")
    fi
    options+=(--secret "id=pip.conf,src=$scratch/pip.conf")
}

build() {
    case $engine in
        buildah) buildah bud --isolation chroot --layers "${options[@]}" . >&2 ;;
        docker) DOCKER_BUILDKIT=1 docker build "${options[@]}" . >&2 ;;
    esac
}

# In a new container of the image: the command starts, and all the daemon is made of can be loaded.
check_start() {
    local program=(/opt/amdgpu-plugin/bin/python3 -c 'import amdgpu_plugin.daemon, sys; from amdgpu_plugin.cli import main; sys.exit(main(["version"]))')
    case $engine in
        buildah) buildah run --isolation chroot "$(container_of "$image")" -- "${program[@]}" >&2 ;;
        docker) docker run --rm --read-only --cap-drop ALL --network none --entrypoint "${program[0]}" \
            "$image" "${program[@]:1}" >&2 ;;
    esac
}

container_of() { buildah from --quiet --pull-never "$1" | tee -a "$scratch/containers"; }

size_of() {
    case $engine in
        buildah) du --summarize --bytes "$(buildah mount "$(container_of "$1")")" | cut -f 1 ;;
        docker) docker image inspect --format '{{.Size}}' "$1" ;;
    esac
}

print_sizes() {
    local total below
    total=$(size_of "$image")
    below=$(size_of "$base")
    say "$image: $(((total - below + 500000) / 1000000)) MB above its base of $(((below + 500000) / 1000000)) MB ($base)"
}

write_archive() {
    mkdir -p "$(dirname "$ARCHIVE")"
    rm -f "$ARCHIVE.part"
    case $engine in
        buildah) buildah push --quiet "$image" "docker-archive:$ARCHIVE.part:$image" ;;
        docker) docker save --output "$ARCHIVE.part" "$image" ;;
    esac
    mv "$ARCHIVE.part" "$ARCHIVE"
    say "written: $ARCHIVE"
}

clean_up() {
    if [ -s "$scratch/containers" ]; then
        xargs buildah rm < "$scratch/containers" > /dev/null
    fi
    rm -rf "$scratch"
}

scratch=$(mktemp -d)
trap clean_up EXIT
engine=${ENGINE:-$(choose_engine)}
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' amdgpu_plugin/__init__.py)
image=${IMAGE:-localhost/amdgpu-plugin:$version}
base=$(choose_base)
options=(
    --tag "$image"
    --build-arg "BASE_IMAGE=$base"
    --build-arg "VERSION=$version"
    --build-arg "REVISION=$(git rev-parse HEAD 2> /dev/null || echo unknown)"
    --build-arg "CREATED=$(date -u +%Y-%m-%dT%H:%M:%SZ)"
)
for proxy in http_proxy https_proxy no_proxy; do
    if [ -n "${!proxy-}" ]; then
        options+=(--build-arg "$proxy=${!proxy}")
    fi
done
if [ -n "${PLATFORM-}" ]; then
    options+=(--platform "$PLATFORM")
fi
lend_pip_settings
build
check_start
print_sizes
if [ -n "${ARCHIVE-}" ]; then
    write_archive
fi
echo "$image"
