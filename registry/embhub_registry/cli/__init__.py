"""The operator's command line: a file for commands of one subject, bodies of at most ten statements, no business logic.

A command's file imports click and nothing heavy; what it calls is imported inside its function: `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from embhub_registry import __version__
from embhub_registry.cli.lazy import LazyGroup
from embhub_registry.cli.start import settings_file

SECTIONS: Mapping[str, Mapping[str, str | click.Command]] = {
    "Start": {
        "init": "start.initialising", "serve": "start.serving", "show": "start.showing", "setting": "start.settings",
    },
    "People and keys": {
        "user": "people_and_keys.users", "invite": "people_and_keys.invites", "token": "people_and_keys.tokens",
        "key": "people_and_keys.keys", "keyring": "people_and_keys.keyring", "trust": "people_and_keys.keyring:trust",
    },
    "Releases": {
        "repo": "releases.repositories",
        "curate": LazyGroup(
            help="Decide which releases need review, who reads gated ones, and what is set aside or yanked.",
            sections={"Commands": {
                "review": "releases.curating:review", "access": "releases.curating:access",
                "quarantine": "releases.quarantine", "yank": "releases.yanking:yank",
                "unyank": "releases.yanking:unyank", "digest": "releases.yanking:digest",
                "evaluation": "releases.curating:evaluation",
            }},
        ),
        "quota": "releases.quotas",
    },
    "Data and servers": {
        "backup": LazyGroup(
            help="Make and restore backups, and go on after PostgreSQL's own tools recovered the database.",
            sections={"Commands": {
                "make": "data_and_servers.backup:make", "restore": "data_and_servers.backup:restore",
                "recovered": "data_and_servers.backup:recovered",
            }},
        ),
        "storage": LazyGroup(
            help="Choose where data lies and which servers share it, and delete what is past its retention.",
            sections={"Commands": {
                "move": "data_and_servers.storage:move", "share": "data_and_servers.storage:share",
                "join": "data_and_servers.storage:join", "prune": "data_and_servers.pruning",
            }},
        ),
        "export": "data_and_servers.exporting",
        "mirror": "data_and_servers.mirroring",
    },
    "Check": {"doctor": "check.doctor", "check": "check.checking", "audit": "check.auditing", "log": "check.log"},
}  # fmt: skip
"""What `--help` lists under each heading: a command, and where it is (`LazyGroup`), or the group below it."""


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    envvar="EMBHUB_REGISTRY_DIR",
    help="Data folder of the registry.  [required, except for `keyring sign` and `export --apply`]",
)
@click.option(
    "--online-keys",
    type=click.Path(path_type=Path),
    envvar="EMBHUB_REGISTRY_ONLINE_KEYS",
    help="Folder of the keys that the server needs, outside --dir  [default: as `init` noted].",
)
@click.option(
    "--database",
    envvar="EMBHUB_REGISTRY_DATABASE",
    metavar="URL",
    help="postgresql://… address of the database  [default: as `init` or `storage move` noted; a file in --dir]."
    " A password comes by this variable, PGPASSWORD or ~/.pgpass.",
)
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    envvar="EMBHUB_REGISTRY_SETTINGS",
    is_eager=True,
    expose_value=False,
    callback=settings_file.apply,
    metavar="FILE",
    help="YAML file with these options and those of `serve`; arguments and variables take precedence.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="embhub-registry")
@click.pass_context
def root(context: click.Context, directory: Path | None, online_keys: Path | None, database: str | None) -> None:
    """Run a registry of signed image embeddings.

    \b
    Example:
      embhub-registry --dir hub init --name "Prostate consortium" --url https://hub.example.org
      embhub-registry --dir hub user add anna --namespace radboud --role publisher
      embhub-registry --dir hub key add --namespace radboud --role publish radboud.pub.pem
      embhub-registry --dir hub serve
    """
    context.obj = directory
    context.meta["online_keys"], context.meta["database"] = online_keys, database
    if database:
        refuse_password_in("database", database)


def refuse_password_in(parameter: str, address: str) -> None:
    """A password in an argument is shown to everybody who lists this machine's processes; a variable may hold one.

    Raises:
        click.UsageError: there is one.
    """
    given = click.get_current_context().get_parameter_source(parameter)
    if given is click.core.ParameterSource.COMMANDLINE and settings_file.has_password(address):
        raise click.UsageError(
            "A password in an argument is seen by every user of this machine: give it by PGPASSWORD, ~/.pgpass or"
            f" EMBHUB_REGISTRY_{'DATABASE' if parameter == 'database' else 'MOVE_TO'}."
        )
