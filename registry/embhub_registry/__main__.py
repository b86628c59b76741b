"""The `embhub-registry` command: runs the command line and turns every error into words and an exit code."""

from __future__ import annotations

import sys

import click

from embhub.errors import EmbhubError
from embhub_registry.cli import root


def main() -> None:
    """Run one command; an EmbhubError becomes a message, a hint and an exit code. `--debug` shows its traceback."""
    try:
        root.main(prog_name="embhub-registry", standalone_mode=True)
    except EmbhubError as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  hint: {error.hint}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
