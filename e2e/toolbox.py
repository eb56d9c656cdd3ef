"""The programs of the cluster: built from the sources that go.sum pins, or laid out from Debian's packages.

Both are kept in the cache (`places.cache`) and made again only when what they are made from changes.
Debian's packages are unpacked there, not installed: no service starts, and the machine stays as it was.
"""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from platform import machine

from e2e import compiler
from e2e.compiler import Say
from e2e.machine import ClusterUnavailable, apt_get, require_space, tools
from e2e.places import SOURCES, cache

KUBERNETES = "k8s.io/kubernetes"
HELM = "helm.sh/helm/v4"
CLIENTS = (f"{KUBERNETES}/cmd/kubectl", f"{HELM}/cmd/helm")
SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
PACKAGES = (*(f"{KUBERNETES}/cmd/{name}" for name in SERVERS), *CLIENTS, "./podtool")
# Kubernetes' own release tags; without cgo the binaries run on any Linux.
FLAGS = ("-p", "2", "-v", "-trimpath")
TAGS = ("-tags", "selinux,notest,grpcnotrace")
BUILD_LIMIT_S = 45 * 60
PROGRESS_S = 30
DEBIAN = ("etcd-server", "containerd", "runc", "containernetworking-plugins")


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Where the programs are, and of which version."""

    built: Path
    debian: Path
    kubernetes: str
    helm: str

    def go(self, name: str) -> Path:
        """A program built by us."""
        return self.built / name

    @property
    def etcd(self) -> Path:
        return self.debian / "usr/bin/etcd"

    @property
    def containerd(self) -> Path:
        return self.debian / "usr/bin/containerd"

    @property
    def ctr(self) -> Path:
        return self.debian / "usr/bin/ctr"

    @property
    def runc(self) -> Path:
        return self.debian / "usr/sbin/runc"


def describe() -> Toolbox:
    """The toolbox of this checkout, whether its programs are there yet or not."""
    required = requirements((SOURCES / "go.mod").read_text())
    key = f"{required[KUBERNETES]}-helm-{required[HELM]}-{_digest()}"
    built = cache() / "bin" / key
    return Toolbox(built, cache() / "debian" / _debian_release(), required[KUBERNETES], required[HELM])


def provide(say: Say) -> Toolbox:
    """Build and unpack what is missing; ClusterUnavailable with the reason when that fails."""
    box = describe()
    tools("openssl")
    if not box.debian.exists():
        say(f"unpacking {', '.join(DEBIAN)}")
        _unpack_debian(box)
    return _built(box, PACKAGES, say)


def prometheus() -> Path:
    """Debian's; ClusterUnavailable when it cannot be had."""
    folder = cache() / "debian" / f"{_debian_release()}-prometheus"
    if not folder.exists():
        _unpack("prometheus", into=compiler.fresh(folder)).rename(folder)
    return folder / "usr/bin/prometheus"


def clients(say: Say) -> Toolbox:
    """Only kubectl and helm, for a cluster that is there already."""
    return _built(describe(), CLIENTS, say)


def requirements(go_mod: str) -> dict[str, str]:
    """Module path → version, of the `require` lines."""
    lines = (line.split() for line in go_mod.splitlines())
    return {words[0]: words[1] for words in lines if len(words) > 1 and words[1].startswith("v")}


def version_flags(version: str) -> str:
    """Linker flags that stamp a Kubernetes version; unstamped, discovery and kubectl take it for v0.0.0."""
    major, minor = version.removeprefix("v").split(".")[:2]
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(
        [
            "-s",
            "-w",
            *(f"-X {package}.{name}={value}" for package in packages for name, value in stamps.items()),
        ]
    )


def _digest() -> str:
    """Of everything the built programs depend on, beside the compiler."""
    parts = [(SOURCES / name).read_bytes() for name in ("go.mod", "go.sum", "podtool/main.go")]
    parts.append(" ".join((*PACKAGES, *FLAGS, *TAGS, machine())).encode())
    return sha256(b"\0".join(parts)).hexdigest()[:12]


def _debian_release() -> str:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    names = [line.partition("=")[2].strip('"') for line in lines if line.startswith("VERSION_CODENAME=")]
    return f"{names[0] if names else 'unknown'}-{machine()}"


def _unpack_debian(box: Toolbox) -> None:
    part = _unpack(*DEBIAN, into=compiler.fresh(box.debian))
    trial = subprocess.run(
        [part / "usr/sbin/runc", "--version"], capture_output=True, check=False, timeout=30
    )
    if trial.returncode:  # the one library that a minimal system may lack
        apt_get("install", "--yes", "--no-install-recommends", "libseccomp2")
    part.rename(box.debian)


def _unpack(*packages: str, into: Path) -> Path:
    apt_get("download", *packages, cwd=into)
    for package in into.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(into)], check=True, timeout=120)
        package.unlink()
    return into


def _built(box: Toolbox, packages: tuple[str, ...], say: Say) -> Toolbox:
    missing = [package for package in packages if not (box.built / Path(package).name).exists()]
    if missing:
        _build(box, missing, say)
    return box


def _build(box: Toolbox, packages: list[str], say: Say) -> None:
    go = compiler.find(say)
    part = compiler.fresh(box.built)
    log = cache() / "build.log"
    require_space(cache(), gib=6)
    say(f"building Kubernetes {box.kubernetes}, Helm {box.helm}: up to 15 minutes on 2 cores; log: {log}")
    total = len(compiler.go(go, "list", "-deps", *TAGS, *packages).splitlines())
    command = ["nice", "-n", "15", str(go), "build", *FLAGS, *TAGS, "-o", f"{part}/"]
    with log.open("w") as out:
        build = subprocess.Popen(
            [*command, "-ldflags", version_flags(box.kubernetes), *packages],
            cwd=SOURCES,
            env={**os.environ, **compiler.ENVIRONMENT},
            stdout=out,
            stderr=out,
        )
        try:
            _watch(build, log, total, say)
        finally:
            build.terminate()
            build.wait()
    if build.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise ClusterUnavailable(f"the build failed:\n{tail}")
    box.built.mkdir(exist_ok=True)
    for program in part.iterdir():
        program.rename(box.built / program.name)
    shutil.rmtree(part)
    for older in set(box.built.parent.iterdir()) - {box.built}:
        shutil.rmtree(older)


def _watch(build: "subprocess.Popen[bytes]", log: Path, total: int, say: Say) -> None:
    started = time.monotonic()
    while True:
        try:
            build.wait(PROGRESS_S)
        except subprocess.TimeoutExpired:
            passed = time.monotonic() - started
            say(f"{passed / 60:.1f} min: {len(log.read_text().splitlines())} of {total} packages at most")
            if passed > BUILD_LIMIT_S:
                raise ClusterUnavailable(f"the build took over {BUILD_LIMIT_S / 60:.0f} minutes") from None
        else:
            return
