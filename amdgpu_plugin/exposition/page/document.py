"""The status page: one document, whole without any script. Pure, and without a clock: ages are the script's.

What is wrong comes first. The same snapshot always gives the same bytes, so that who asks again is told that
nothing changed.
"""

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from amdgpu_plugin.exposition.markup import Inside, Level, element, html, mark
from amdgpu_plugin.exposition.page.devices import anchor, devices_table
from amdgpu_plugin.exposition.page.facts import Facts, facts_of, scene
from amdgpu_plugin.exposition.page.troubles import Headline, Trouble, headline, troubles
from amdgpu_plugin.exposition.picture.drawing import picture
from amdgpu_plugin.exposition.snapshot import Snapshot
from amdgpu_plugin.exposition.words import (
    OLD_ROUNDS,
    OLD_SECONDS,
    UNKNOWN,
    counted,
    definitions,
    moment,
    prose,
)

WIDE_FROM = 520.0
"""A picture this wide stands below the table, a smaller one beside it."""
_PAGES = (
    ("metrics", "for Prometheus"),
    ("api/v1/node", "this node as JSON"),
    ("healthz", "whether the daemon runs"),
    ("readyz", "whether the kubelet hears of every device"),
)
_EVENTS = {
    "kernel": "heard from the kernel",
    "simulated": "heard from the simulated node",
    "none": "not heard: changes are found by looking",
}


def status_page(snapshot: Snapshot) -> bytes:
    """The page of a snapshot."""
    facts = facts_of(snapshot)
    found = troubles(facts)
    head = headline(facts, found)
    node = snapshot.about.node
    root = element(
        "html",
        _head(head, node),
        element(
            "body",
            element("a", "Skip to the devices", href="#devices", class_="skip"),
            _header(snapshot),
            element("main", *_main(facts, head, found)),
            _footer(),
        ),
        lang="en",
        data_version=snapshot.about.version,
    )
    return html(root)


def _head(head: Headline, node: str | None) -> Element:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("title", " · ".join(filter(None, (head.text, node, "amdgpu-plugin")))),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="icon.svg", type="image/svg+xml"),
        element("link", rel="stylesheet", href="page.css"),
        element("link", rel="stylesheet", href="picture.css"),
        element("script", src="page.js", defer=""),
    )


def _header(snapshot: Snapshot) -> Element:
    about = snapshot.about
    return element(
        "header",
        element(
            "p",
            element("strong", about.node or "AMD GPUs of this node"),
            element("span", f"amdgpu-plugin {about.version}", class_="soft"),
            class_="node",
        ),
        element(
            "div",
            element("p", element("span", "Live", class_="dot"), id="live", hidden=""),
            element("p", id="lost", role="status"),
            element("p", id="silent"),
            element(
                "noscript",
                element(
                    "p", "Without JavaScript this page shows the moment it was loaded: reload it for news."
                ),
            ),
            class_="heard",
        ),
    )


def _main(facts: Facts, head: Headline, found: Sequence[Trouble]) -> Iterator[Element]:
    yield _verdict(head, found)
    if found:
        yield element(
            "section",
            element("h2", "What is wrong" if found[0].level == "bad" else "To look at", id="troubles-head"),
            element("ul", *map(_trouble, found)),
            class_="troubles",
            aria_labelledby="troubles-head",
        )
    if notes := list(_notes(facts)):
        yield element("ul", *notes, class_="notes", aria_label="Remarks")
    if facts.view.boards:
        drawn = picture(scene(facts))
        wide = float(drawn.get("width", "0")) > WIDE_FROM
        yield element(
            "div",
            element(
                "section",
                element("h2", "Devices", element("span", _products(facts), class_="soft"), id="devices"),
                devices_table(facts),
                aria_labelledby="devices",
            ),
            element(
                "section",
                element("h2", "Topology", id="topology"),
                element("figure", drawn),
                aria_labelledby="topology",
                class_="picture",
            ),
            class_="columns wide" if wide else "columns",
        )
    yield element(
        "div",
        _kubelet(facts),
        _plugin(facts),
        _skipped(facts),
        class_="cards",
    )


def _products(facts: Facts) -> str:
    return ", ".join(f"{count} × {product}" for product, count in facts.products.items())


def _verdict(head: Headline, found: Sequence[Trouble]) -> Element:
    """What a screen reader says when it changes: nothing in it changes without the health."""
    names = dict.fromkeys(
        f"{trouble.name} on {trouble.gpu}" for trouble in found if trouble.gpu and trouble.level == head.level
    )
    told = element("p", ", ".join(names), class_="names") if names else None
    return element(
        "div",
        mark(head.level),
        element("div", element("h1", head.text), told),
        class_=f"verdict {head.level}",
        id="verdict",
        role="status",
    )


def _trouble(trouble: Trouble) -> Element:
    where = (
        None
        if trouble.gpu is None
        else element("a", trouble.gpu, href=f"#{anchor(trouble.gpu)}", class_="id")
    )
    many = len(trouble.devices) > 1
    since = (
        None
        if trouble.since is None
        else element("span", "since ", *moment(trouble.since), class_="soft since")
    )
    return element(
        "li",
        element(
            "p",
            mark(trouble.level), " ", element("strong", _capital(trouble.name), class_=trouble.level), " ",
            where, f" ({counted(len(trouble.devices), 'device')})" if many else None, " ", since,
            class_="what",
        ),
        element("p", *prose(trouble.detail)),
        *(element("p", "Also ", *prose(each)) for each in trouble.also),
        None if trouble.remark is None else element("p", trouble.remark),
        _term("Held by", ", ".join(trouble.pods)),
        _term("What to do", trouble.advice),
        class_=trouble.level,
    )  # fmt: skip


def _term(term: str, told: str | None) -> Element | None:
    return element("p", element("b", f"{term}: "), *prose(told)) if told else None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _notes(facts: Facts) -> Iterator[Element]:
    snapshot = facts.view.snapshot
    if snapshot.about.simulated:
        yield _note("Simulated", "These GPUs are not real: the daemon was started with `--simulate`.")
    if snapshot.observes:
        yield _note(
            "Observe mode",
            "Only `DriverUnbound` and `DeviceLost` reach the kubelet; every other verdict is only shown.",
        )
    kfd = snapshot.state.inventory.driver.kfd
    if facts.view.boards and kfd != "readable":
        yield _note(
            f"KFD {kfd}",
            "Weights of links are not known, and partitions are offered only where they are certain.",
        )
    if snapshot.state.devices and not facts.holders_known:
        yield _note("Holders not known", "The kubelet's pod-resources cannot be asked who holds what.")


def _note(name: str, text: str) -> Element:
    return element("li", element("strong", name), " ", *prose(text))


def _kubelet(facts: Facts) -> Element:
    snapshot = facts.view.snapshot
    rows = []
    for resource in snapshot.state.resources:
        registration = snapshot.registration(resource)
        devices = snapshot.state.devices_of(resource)
        level: Level = "good" if registration.live else "bad"
        said = ": ".join(filter(None, (registration.phase, registration.detail)))
        rows.append(
            element(
                "tr",
                element("th", resource, scope="row"),
                element("td", f"{sum(each.healthy for each in devices)} of {len(devices)}", class_="number"),
                element("td", mark(level), " ", element("span", said), class_="state"),
                element("td", str(registration.streams), class_="number"),
            )
        )
    heads = ("Resource", "Healthy", "With the kubelet", "Streams")
    table = element(
        "table",
        element("caption", "Resources and how they stand with the kubelet", class_="unseen"),
        element("thead", element("tr", *(element("th", head, scope="col") for head in heads))),
        element("tbody", *rows),
    )
    body = table if rows else element("p", "Nothing is served: no device was found to offer.")
    return element(
        "section", element("h2", "Kubelet", id="kubelet"), body, aria_labelledby="kubelet", class_="card"
    )


def _plugin(facts: Facts) -> Element:
    snapshot = facts.view.snapshot
    about, state = snapshot.about, snapshot.state
    taken = [board.readings.taken_at for board in facts.view.boards if board.readings is not None]
    interval = state.policy.get("interval_seconds")
    old_after = OLD_ROUNDS * interval + OLD_SECONDS if isinstance(interval, float | int) else None
    oldest: Sequence[Inside] = moment(min(taken), old_after=old_after) if taken else ["none"]
    driver = state.inventory.driver
    pairs: list[tuple[str, Sequence[Inside]]] = [
        ("Running since", moment(about.started_at)),
        ("Oldest readings", oldest),
        ("Kernel events", [_EVENTS.get(about.events, about.events)]),
        ("Health", [f"{state.policy.get('mode', UNKNOWN)} mode, a round every {_seconds(interval)}"]),
        ("Driver", [f"{driver.name} {driver.version or '(version not told)'}, KFD {driver.kfd}"]),
    ]
    return element(
        "section",
        element("h2", "This plugin", id="plugin"),
        definitions(pairs),
        aria_labelledby="plugin",
        class_="card",
    )


def _seconds(interval: object) -> str:
    return f"{interval:g} s" if isinstance(interval, float | int) else UNKNOWN


def _skipped(facts: Facts) -> Element:
    skipped = facts.view.snapshot.state.inventory.skipped
    rows = (
        element("tr", element("th", each.path, scope="row"), element("td", each.reason)) for each in skipped
    )
    heads = ("Where in sysfs", "Why")
    table = element(
        "table",
        element("caption", "What was found and not used", class_="unseen"),
        element("thead", element("tr", *(element("th", head, scope="col") for head in heads))),
        element("tbody", *rows),
    )
    return element(
        "section",
        element("h2", "Not used", id="skipped"),
        table if skipped else element("p", "Nothing was skipped."),
        aria_labelledby="skipped",
        class_="card",
    )


def _footer() -> Element:
    links = (element("li", element("a", f"/{path}", href=path), f" {told}") for path, told in _PAGES)
    return element("footer", element("nav", element("ul", *links), aria_label="Other pages"))
