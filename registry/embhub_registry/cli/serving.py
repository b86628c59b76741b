"""`embhub-registry serve`: run the server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub_registry.cli import options

if TYPE_CHECKING:
    from embhub_registry.storage.folder import Registry


@click.command("serve")
@click.option(
    "--host", default="127.0.0.1", show_default=True,
    help="Address to listen on; beyond this machine, put nginx or Caddy in front.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65_535), default=8642, show_default=True,
              help="Port to listen on; 0 selects a free one.")  # fmt: skip
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
    registry: Registry, *, host: str, port: int, drain: float, grace: float, log_file: Path | None,
    accept_traceparent: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the server until SIGTERM or Ctrl-C; prints its URL when it is ready.

    On a terminal only warnings and errors of the log are shown. `--log` keeps all of it. Traces are sent where
    OTEL_EXPORTER_OTLP_ENDPOINT is set.
    """
    from embhub_registry import serving
    from embhub_registry.storage import audit_holder, logs

    logs.direct(log_file)
    with registry.alone("serve", together=registry.is_shared):
        audit_holder.take(registry.audit_log, registry.database)
        serving.serve(
            registry, host=host, port=port, as_json=as_json, drain=drain, grace=grace,
            accept_traceparent=accept_traceparent,
        )  # fmt: skip
