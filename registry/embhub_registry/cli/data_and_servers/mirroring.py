"""`embhub-registry mirror`: follow another registry, verify it, and serve it read-only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embhub_registry.cli import options
from embhub_registry.cli.output import show


@click.command("mirror")
@click.argument("url")
@click.option("--fingerprint", metavar="SHA256:…",
              help="Fingerprint of the root key, from its operator  [required the first time].")  # fmt: skip
@click.option("--name", default="", help="Name of the mirror as a witness  [default: mirror. and this host's name].")
@click.option("--interval", type=options.Duration(1, 86_400), default=300.0, show_default=True,
              help="Seconds between two refreshes.")  # fmt: skip
@click.option("--once", is_flag=True, help="Refresh once and end, without serving.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen on; beyond this machine, put nginx or Caddy in front.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65_535), default=8643, show_default=True,
              help="Port to listen on; 0 selects a free one.")  # fmt: skip
@click.option("--token-file", "token", type=options.FILE, metavar="FILE",
              help="File with an access token, to follow a closed registry.")  # fmt: skip
@click.option("--include", multiple=True, type=click.Choice(["gated", "private"]),
              help="Serve gated or private repositories too, to everybody who reaches the mirror.")  # fmt: skip
@options.as_json
@click.pass_context
def command(
    context: click.Context, url: str, fingerprint: str | None, name: str, interval: float, once: bool, host: str,
    port: int, token: Path | None, include: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Follow the registry at URL into --dir: verify everything, cosign its log, and serve it read-only.

    What was withdrawn is dropped at the next refresh. A log that shows two histories ends the following (exit code 4):
    both signed checkpoints are kept in --dir, and what is held stays served.

    \b
    Example:
      embhub-registry --dir mirror mirror https://hub.example.org --fingerprint SHA256:…
      embhub-registry --dir mirror mirror https://hub.example.org --once
    """
    from embhub_registry.static.mirror import running

    with running.open_mirror(options.data_folder(context), url, name=name, token=token, include=include) as mirror:
        mirror.pin(fingerprint)
        if once:
            _report(mirror.refresh(), as_json=as_json)
        else:
            running.run(mirror, host=host, port=port, interval=interval, as_json=as_json)


def _report(done: Any, *, as_json: bool) -> None:
    from dataclasses import asdict

    from embhub_registry.static.mirror import running

    show(asdict(done), running.in_words(done), as_json=as_json)
