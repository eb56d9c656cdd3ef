"""The cluster's certificates and keys, made with openssl and valid for ten days."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e.machine import ClusterUnavailable
from e2e.places import ADDRESS, KUBERNETES_SERVICE, NODE

DAYS = "10"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True, slots=True)
class Certificate:
    """One to be signed by the cluster's authority: `name` is its file's stem."""

    name: str
    subject: str
    alternatives: str = ""


# The subjects are what RBAC's built-in roles and the node authorizer expect.
CERTIFICATES = (
    Certificate("admin", "/O=system:masters/CN=admin"),
    Certificate("controller-manager", "/CN=system:kube-controller-manager"),
    Certificate("scheduler", "/CN=system:kube-scheduler"),
    Certificate("kubelet", f"/O=system:nodes/CN=system:node:{NODE}"),
    Certificate("kubelet-server", f"/CN={NODE}", f"DNS:{NODE},IP:{ADDRESS}"),
    Certificate(
        "apiserver",
        "/CN=kube-apiserver",
        f"DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:{ADDRESS},IP:{KUBERNETES_SERVICE}",
    ),
)


def make(folder: Path) -> None:
    """`NAME.crt` and `NAME.key` for the authority and each certificate; `service-accounts.{key,pub}`."""
    folder.mkdir(parents=True, mode=0o700)
    authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    _request(folder, "authority", "/CN=e2e", *authority)
    for certificate in CERTIFICATES:
        extensions = [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=clientAuth,serverAuth",
        ]
        if certificate.alternatives:
            extensions.append(f"subjectAltName={certificate.alternatives}")
        flags = [word for extension in extensions for word in ("-addext", extension)]
        signer = ("-CA", str(folder / "authority.crt"), "-CAkey", str(folder / "authority.key"))
        _request(folder, certificate.name, certificate.subject, *signer, *flags)
    key, public = folder / "service-accounts.key", folder / "service-accounts.pub"
    _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key))
    _openssl("pkey", "-in", str(key), "-pubout", "-out", str(public))


def _request(folder: Path, name: str, subject: str, *flags: str) -> None:
    files = ("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt"))
    _openssl("req", "-x509", *KEY, "-days", DAYS, "-subj", subject, *flags, *files)


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise ClusterUnavailable(f"openssl {arguments[0]}: {done.stderr.strip()[-500:]}")
