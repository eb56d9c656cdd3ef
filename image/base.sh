#!/usr/bin/env bash
# A base image where no registry can be reached: Debian and its Python by debootstrap, packed once and kept in the cache.
# Needs root and debootstrap. Prints the image's name on stdout; all else goes to stderr.
#
#   image/base.sh buildah|docker
set -euo pipefail
cd "$(dirname "$0")"

engine=${1:?usage: image/base.sh buildah|docker}
suite=bookworm
packages=python3,python3-venv,ca-certificates
cache=${XDG_CACHE_HOME:-$HOME/.cache}/amdgpu-plugin-e2e

# A base made by another recipe is another base.
recipe=$(sha256sum < base.sh | cut -c 1-12)
name=localhost/amdgpu-plugin-base:$suite-$recipe
rootfs=$cache/base-$suite-$(dpkg --print-architecture)-$recipe.tar

# What this machine's apt uses for the suite; elsewhere Debian's own address.
mirror_of() {
    { apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 2> /dev/null || true; } |
        awk -v suite="$1" '$2 == suite && $3 == "main" { print $1; exit }'
}

make_rootfs() {
    local mirror security
    mirror=$(mirror_of "$suite")
    mirror=${mirror:-http://deb.debian.org/debian/}
    security=$(mirror_of "$suite-security")
    echo "making $rootfs from $mirror: some minutes, once" >&2
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/base.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    debootstrap --variant=minbase --include="$packages" "$suite" "$work/root" "$mirror" >&2
    echo "deb $mirror $suite main" > "$work/root/etc/apt/sources.list"
    if [ -n "$security" ]; then
        echo "deb $security $suite-security main" >> "$work/root/etc/apt/sources.list"
    fi
    rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/* "$work"/root/var/log/* \
        "$work"/root/usr/share/{doc,info,man,locale}/* "$work"/root/dev/*
    tar -C "$work/root" --numeric-owner -cf "$work/rootfs.tar" .
    mv "$work/rootfs.tar" "$rootfs"
}

load() {
    case $engine in
        docker)
            docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
                "$rootfs" "$name" >&2 ;;
        buildah)
            container=$(buildah from scratch)
            buildah add --quiet "$container" "$rootfs" / >&2
            buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
            buildah commit --quiet --rm "$container" "$name" >&2 ;;
    esac
}

if ! "$engine" inspect --type image "$name" > /dev/null 2>&1; then
    [ -f "$rootfs" ] || make_rootfs
    load
fi
echo "$name"
