"""What headers ask for: which of the two formats of metrics, and a page only if it changed. Pure."""

_OPENMETRICS = "application/openmetrics-text"
_OURS = {_OPENMETRICS: ("", "1.0.0"), "text/plain": ("", "0.0.4")}
"""The formats by their media type, each with the versions that ask for it; an empty one asks for any."""


def prefers_openmetrics(accept: str) -> bool:
    """True when OpenMetrics is asked for, and the classic format no more than it.

    Versions that are not ours ask for nothing; who names nothing we have gets the classic format.
    """
    weights = dict.fromkeys(_OURS, 0.0)
    for wanted in accept.lower().split(","):
        media, *given = (part.strip() for part in wanted.split(";"))
        parameters = dict(parameter.split("=", 1) for parameter in given if "=" in parameter)
        if media in _OURS and parameters.get("version", "").strip('"') in _OURS[media]:
            weights[media] = max(weights[media], _weight(parameters.get("q", "1")))
    return weights[_OPENMETRICS] > 0 and weights[_OPENMETRICS] >= weights["text/plain"]


def names(if_none_match: str, tag: str) -> bool:
    """Whether an If-None-Match header names that ETag: who asks has the page."""
    named = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return tag in named or "*" in named


def _weight(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return 0.0
