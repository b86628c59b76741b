"""`embhub-registry serve`: run the server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry

PORT = 8642


@click.command("serve")
@click.option(
    "--host", default="127.0.0.1", show_default=True,
    help="Address to listen on; beyond this machine, put nginx or Caddy in front.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(0, 65_535),
    help="Port to listen on; 0 selects a free one  [default: that of the URL if it is on this machine, else 8642].",
)  # fmt: skip
@click.option("--drain-seconds", "drain", type=options.SECONDS, default=0.0, show_default=True,
              help="Drain time: seconds to keep serving after SIGTERM while /readyz fails.")  # fmt: skip
@click.option("--grace-seconds", "grace", type=options.SECONDS, default=20.0, show_default=True,
              help="Shutdown timeout: seconds for running requests to finish.")  # fmt: skip
@click.option("--log", "log_file", type=options.FILE, metavar="FILE",
              help="Append the log to FILE, one JSON object per line  [default: standard error].")  # fmt: skip
@click.option("--accept-traceparent/--no-accept-traceparent", default=False,
              envvar="EMBHUB_REGISTRY_ACCEPT_TRACEPARENT",
              help="Continue traces that the proxy began; it must set traceparent itself.")  # fmt: skip
@options.as_json
@options.opened
def command(
    registry: Registry, *, host: str, port: int | None, drain: float, grace: float, log_file: Path | None,
    accept_traceparent: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the server until SIGTERM or Ctrl-C; prints its URL when it is ready.

    On a terminal only warnings and errors of the log are shown. `--log` keeps all of it. Traces are sent where
    OTEL_EXPORTER_OTLP_ENDPOINT is set.
    """
    from embhub_registry import serving
    from embhub_registry.storage import logs
    from embhub_registry.storage.audit import audit_holder

    logs.direct(log_file)
    port = _own_port(registry) if port is None else port
    with registry.alone("serve", together=registry.is_shared):
        audit_holder.take(registry.audit_log, registry.database)
        serving.serve(
            registry, host=host, port=port, as_json=as_json, drain=drain, grace=grace,
            accept_traceparent=accept_traceparent,
        )  # fmt: skip


def _own_port(registry: Registry) -> int:
    """The port of the registry's own address, where that is on this machine: clients ask there."""
    from urllib.parse import urlsplit

    from embhub.site.pins.transport import is_this_machine

    own = urlsplit(registry.setting("url"))
    return own.port if own.port is not None and is_this_machine(own.hostname or "") else PORT
