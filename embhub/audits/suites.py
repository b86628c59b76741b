"""Which attacks a suite runs: each on shadows in turn, then on the file itself."""

from __future__ import annotations

from collections.abc import Mapping

from embhub.audits.attack_figures import IN_TURN

_BY_LOSSES = ("lira", "loss-difference", "loss", "rmia", "lira-online", "dataset-inference")
_BY_ASKING = ("clid", "secmi", "pia", "gradient-alignment", "fcre", "extraction", "re-identification")


def _and_in_turn(names: tuple[str, ...]) -> tuple[str, ...]:
    """The attacks on each shadow in turn, then the same on the file itself."""
    return (*(f"{name}{IN_TURN}" for name in names), *names)


SUITES: Mapping[str, tuple[str, ...]] = {  # the attacks of a suite, its headline first
    "quick": ("loss-difference", "loss"),
    "standard": _and_in_turn(_BY_LOSSES),
    "thorough": _and_in_turn((*_BY_LOSSES, *_BY_ASKING)),
    "mechanism": ("mechanism-canaries",),
}
