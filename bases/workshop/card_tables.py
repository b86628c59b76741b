"""Tables that the cards of both kinds of base share."""

from __future__ import annotations

from typing import Any


def power_and_distance(figures: dict[str, Any]) -> list[str]:
    """Shares of power by band, and kernel distances to real films of the finding."""
    lines = ["", "| drawn normals, cycles an image | share of the power of real films |", "|---|---|"]
    lines += [f"| {band} | {share:.2f} |" for band, share in figures["power"].items()]
    lines += ["", "| images | kernel distance (KID) to real films of the finding | n |", "|---|---|---|"]
    return lines + [
        f"| {name} | {found['kid']:.3f} ± {found['sd']:.3f} over subsets | {found['n']} |"
        for name, found in figures["distance"].items()
    ]


def copies(found: dict[str, Any], what: str = "films") -> list[str]:
    """What the copy check found of the base itself, and how many planted copies of each kind it caught."""
    lines = [
        "",
        f"The copy check (`docs/how-to/check-for-copies.md`) compared {found['n']} drawn images with each of the "
        f"{found['films']} {what} of {found['patients']} patients that the base saw, judged by {found['controls']} "
        f"patients that it did not see: {found['suspected']} suspected. Of copies of its {what} that were planted, it "
        "caught:",
        "",
        "| planted | caught |",
        "|---|---|",
    ]
    return lines + [f"| {kind} | {caught} of {tried} |" for kind, (caught, tried) in found["planted"].items()]


def decibels(figures: dict[str, float]) -> str:
    """The autoencoder's peak signal-to-noise ratio, by kind of image."""
    parts = ", ".join(f"{value} dB ({name})" for name, value in figures.items() if name != "n")
    return f"Autoencoder, on images it was not trained on, {figures['n']:g} of each kind: {parts}."


def percent(share: float) -> str:
    """A share in whole per cent."""
    return f"{share:.0%}"
