"""`embhub curate`: what publishers and approvers decide about releases and their readers."""

from __future__ import annotations

from embhub.cli.lazy import LazyGroup

command = LazyGroup(
    "curate",
    commands_in={
        "review": "publish.reviewing",
        "access": "publish.access",
        "yank": "publish.yanking",
        "erase": "publish.erasing",
    },
    short_help="Approve releases, answer readers, withdraw, erase.",
    help="""Decide about proposed releases and gated repositories, and withdraw what is published.

    Readers ask for access to a gated repository here, too.

    \b
    Example:
      embhub curate review list
      embhub curate access request radboud/prostate-csPCa
      embhub curate yank radboud/prostate-csPCa@1.0.0 --reason "the card names the wrong scanner"
    """,
)
