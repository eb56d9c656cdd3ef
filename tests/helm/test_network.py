"""Who may talk with the pods, and they with whom."""

from typing import Any

from tests.helm.chart import Values, manifests, refusal, render

ON: Values = {"networkPolicy": {"enabled": True}}
EVENTS: Values = {"kubernetesEvents": {"enabled": True}}


def policy(values: Values) -> Any:
    return render(values)["NetworkPolicy"]["spec"]


def ports(*numbers: int) -> list[object]:
    return [{"port": number, "protocol": "TCP"} for number in numbers]


def test_in_to_one_port_and_out_to_nowhere() -> None:
    found = policy(ON)
    assert found["policyTypes"] == ["Ingress", "Egress"]
    assert (found["ingress"], found["egress"]) == ([{"ports": ports(9400)}], [])


def test_out_to_the_api_server_only_where_it_is_talked_to() -> None:
    assert policy(ON | EVENTS)["egress"] == [{"ports": ports(443, 6443)}]
    address = [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    known: Values = {"networkPolicy": {"enabled": True, "apiServer": {"ports": [6443], "to": address}}}
    assert policy(known)["egress"] == []
    assert policy(known | EVENTS)["egress"] == [{"ports": ports(6443), "to": address}]


def test_in_from_those_alone_who_are_named() -> None:
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    found = policy({"networkPolicy": {"enabled": True, "from": peers}})
    assert found["ingress"] == [{"ports": ports(9400), "from": peers}]


def test_ports_are_those_of_the_configs() -> None:
    groups = [
        {"name": name, "nodeSelector": {"gpu": name}, "config": {"http": {"address": f":{port}"}}}
        for name, port in (("a", 9500), ("b", 9400), ("c", 9500))
    ]
    off: Values = {"config": {"http": {"address": ""}}, "probes": {"enabled": False}}
    assert policy(ON | off)["ingress"] == []
    values = ON | {"nodeGroups": groups}
    (made,) = manifests(values, "NetworkPolicy")
    assert made["spec"]["ingress"] == [{"ports": ports(9500, 9400)}]


def test_peer_that_selects_nothing_is_refused() -> None:
    assert "/networkPolicy/from/0" in refusal({"networkPolicy": {"enabled": True, "from": [{}]}})
