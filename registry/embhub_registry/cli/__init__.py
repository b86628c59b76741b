"""The operator's command line: one file a command or group, bodies of at most ten statements, no business logic.

A command's file imports click and nothing heavy; what it calls is imported inside its function: `--help` is quick.
"""

from __future__ import annotations

from pathlib import Path

import click

from embhub_registry import __version__
from embhub_registry.cli.lazy import LazyGroup

COMMANDS = {
    "init": "initialising",
    "serve": "serving",
    "show": "showing",
    "user": "users",
    "token": "tokens",
    "key": "keys",
    "yank": "yanking",
    "unyank": "unyanking",
    "digest": "digests",
    "repo": "repositories",
    "access": "access",
    "quota": "quotas",
    "setting": "settings",
    "prune": "pruning",
    "trust": "trusting",
    "audit": "auditing",
    "check": "checking",
    "backup": "backup",
    "restore": "restore",
}


@click.group(
    cls=LazyGroup,
    commands_in=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    required=True,
    envvar="EMBHUB_REGISTRY_DIR",
    help="Data folder of the registry.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="embhub-registry")
@click.pass_context
def root(context: click.Context, directory: Path) -> None:
    """Run a registry of signed image embeddings.

    \b
    Example:
      embhub-registry --dir hub init --name "Prostate consortium" --url https://hub.example.org
      embhub-registry --dir hub user add anna --namespace radboud --role publisher
      embhub-registry --dir hub key add --namespace radboud --role publish radboud.pub.pem
      embhub-registry --dir hub serve
    """
    context.obj = directory
