"""`embhub search`: list the embeddings of a registry."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from embhub.cli import options
from embhub.cli.output import print_json, print_table, remark

if TYPE_CHECKING:
    from embhub.client.wire.hub import Listing

_FACETS: dict[str, tuple[click.ParamType[Any], str | None, str]] = {
    "modality": (click.STRING, "CODE", "Only this DICOM modality, such as MR; repeat to require several."),
    "anatomy": (click.STRING, "TEXT", "Only this organ or region, as cards spell it: prostate."),
    "finding": (click.STRING, "TEXT", "Only this finding, as cards spell it: pneumonia."),
    "base": (click.STRING, "NAME", "Only embeddings for this base model."),
    "privacy": (click.Choice(["claimed", "none"]), None, "Only with, or without, a differential privacy claim."),
    "audit": (
        click.Choice(["leak-detected", "no-leak-detected", "insufficient-evidence", "bounded-by-claim", "not-audited"]),
        None,
        "Only this audit verdict.",
    ),
    "confirmation": (
        click.Choice(["countersigned", "self-declared"]),
        None,
        "Only audits that an independent auditor countersigned, or that the publisher alone declares.",
    ),
}


def _facets(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, (kind, metavar, text) in reversed(_FACETS.items()):
        command = click.option(f"--{name}", name, type=kind, metavar=metavar, multiple=True, help=text)(command)
    return command


@click.command("search", short_help="Search a registry for embeddings.")
@click.argument("query", default="")
@_facets
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    metavar="N",
    default=50,
    show_default=True,
    help="Maximum number of results.",
)
@options.registry
@options.as_json
def command(query: str, limit: int, registry: str | None, as_json: bool, **facets: tuple[str, ...]) -> None:
    """List embeddings whose name, card or tags match QUERY; without QUERY, all of them.

    Each line has name, version, date, audit verdict and who supports it, privacy claim and base model, as the registry
    reports them: nothing here is verified. `embhub pull NAME@VERSION` downloads and verifies one.

    \b
    Example:
      embhub search prostate
      embhub search --modality MR --privacy claimed --confirmation countersigned
    """
    from embhub.client.pulling.pull import search

    found = search(query, limit=limit, registry=registry, facets={name: list(all_) for name, all_ in facets.items()})
    if as_json:
        print_json([asdict(listing) for listing in found])
    elif found:
        print_table([("repository", "version", "date", "audit", "privacy", "base"), *map(_row, found)])
    else:
        remark(f"nothing found{_offered(query, registry, facets)}")


def _offered(query: str, registry: str | None, facets: dict[str, tuple[str, ...]]) -> str:
    """Which modalities there are, where somebody asked for others."""
    from embhub.client.pulling.pull import search

    if not facets["modality"]:
        return ""
    others = {name: list(values) for name, values in facets.items() if name != "modality"}
    listed = search(query, limit=1000, registry=registry, facets=others)
    codes = {code for listing in listed for code in listing.modality}
    return f" for modality {' and '.join(facets['modality'])}; there are: {', '.join(sorted(codes))}" if codes else ""


def _row(listing: Listing) -> tuple[str, ...]:
    facts = (listing.version, listing.modified[:10], listing.audit, _privacy(listing.privacy), listing.base)
    return (listing.repository, *(fact or "-" for fact in facts))


def _privacy(said: str) -> str:
    """Epsilon alone, of a study both figures: the whole claim is in `--json` and in `embhub show`."""
    found = re.search(r"epsilon ([0-9.e+-]+)(?:.*; ([0-9.e+-]+) against any one)?", said)
    if not found:
        return said
    return f"epsilon {found[1]}{f' or {found[2]}' if found[2] else ''} (claimed)"
