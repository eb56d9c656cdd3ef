"""The kubelet's own count of registrations."""

import re

from e2e.tests.installation import GPU, Installation


def registrations(plugin: Installation) -> int:
    """Of our resource, since the kubelet started."""
    metrics = plugin.cluster.kubelet_metrics(plugin.node)
    name = rf'^kubelet_device_plugin_registration_total\{{resource_name="{GPU}"\}} (\S+)$'
    found = re.search(name, metrics, re.MULTILINE)
    return int(float(found[1])) if found else 0


def test_one_registration_for_each_start_of_the_plugin(whole_gpus: Installation) -> None:
    before = registrations(whole_gpus)
    assert before >= 1
    first = whole_gpus.pod()
    whole_gpus.replace_pod()
    assert whole_gpus.pod() != first
    assert registrations(whole_gpus) == before + 1
    assert len(re.findall(r"registrar: registered", whole_gpus.log())) == 1
