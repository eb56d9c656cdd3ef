"""What examples/ holds, as a user would apply it: but for the image, which is the plugin's own and is there."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from e2e.kubernetes import Json
from e2e.tests.installation import NAMESPACE, Installation
from e2e.tests.plugin_image import ROOT

EXAMPLES = ROOT / "examples"


def example(name: str) -> Path:
    return EXAMPLES / name


def values(name: str) -> Json:
    """Of a file of values for the chart."""
    found: Json = yaml.safe_load(example(name).read_text())
    return found


def objects(name: str, *, image: str) -> list[Json]:
    """Of a manifest, with this image for every container."""
    found = list(yaml.safe_load_all(example(name).read_text()))
    for each in found:
        _replace_images(each, image)
    return found


@contextmanager
def applied(plugin: Installation, name: str) -> Iterator[None]:
    """In the tests' namespace where the example names none; gone in the end, with its pods."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(name, image=str(plugin.image))})
    words = ("--namespace", NAMESPACE, "--filename", "-")
    plugin.cluster.kubectl("apply", *words, stdin=text)
    try:
        yield
    finally:
        plugin.cluster.kubectl(
            "delete", *words, "--cascade=foreground", "--timeout=90s", stdin=text, timeout_s=100
        )


def _replace_images(within: Any, image: str) -> None:
    """Wherever a pod is written."""
    if isinstance(within, list):
        for each in within:
            _replace_images(each, image)
    elif isinstance(within, dict):
        for container in within.get("containers", ()):
            container["image"] = image
        for each in within.values():
            _replace_images(each, image)
