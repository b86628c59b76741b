"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from embhub.errors import UsageError

FILE = click.Path(path_type=Path)


def ask_secret(what: str, *, twice: bool = False) -> str:
    """A token or passphrase: asked without showing it on a terminal, else one line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))
    if not (line := sys.stdin.readline().rstrip("\n")):
        raise UsageError(f"{what}: standard input holds none", "pipe it in, or run this on a terminal to be asked")
    return line


def ask_passphrase(key: str) -> str:
    """The passphrase of a key."""
    return ask_secret(f"Passphrase of the key {key}")


as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for machines.")
registry = click.option(
    "--registry", metavar="URL", help="The registry  [default: EMBHUB_REGISTRY, config.yaml, or the only one known]"
)
device = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="auto, cpu, cuda or mps; auto takes the fastest.",
)
seed = click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    default=0,
    show_default=True,
    help="Start of all randomness.",
)
base = click.option(
    "--base",
    metavar="NAME|PATH|HUB-ID",
    default="builtin",
    show_default=True,
    help="Base model; `embhub base list` names ours.",
)
card = click.option(
    "--card", type=FILE, metavar="FILE", help="The card  [default: STEM.card.yaml beside the embedding]"
)
audit = click.option(
    "--audit", type=FILE, metavar="FILE", help="The audit report  [default: STEM.audit.json, where it is there]"
)
key = click.option("--key", metavar="NAME", help="The signing key  [default: EMBHUB_KEY, config.yaml or `default`]")
policy = click.option(
    "--policy",
    type=click.Choice(["standard", "strict"]),
    default="standard",
    show_default=True,
    help="What must be there beyond a good signature: strict asks for an audit as well.",
)
