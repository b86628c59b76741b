"""Which registry may be given what: an access token its own registry, plain http only this machine or by consent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from urllib.parse import urlsplit

from embhub.errors import ConfigError
from embhub.site import config

_consent: ContextVar[bool] = ContextVar("plain http for this call", default=False)


@contextmanager
def plain_http_allowed() -> Iterator[None]:
    """Ask any registry by plain http within this block: `--insecure`."""
    before = _consent.set(True)
    try:
        yield
    finally:
        _consent.reset(before)


def check(registry: str) -> None:
    """Refuse to ask another machine by plain http, unless a person said so.

    Raises:
        ConfigError: plain http beyond this machine, and neither `--insecure` nor the setting `insecure` allows it.
    """
    parts = urlsplit(registry)
    if parts.scheme in ("https", "file") or is_this_machine(parts.hostname or "") or _consent.get():
        return
    if any(config.same_origin(registry, named) for named in config.insecure_registries()):
        return
    raise ConfigError(
        f"{registry} is not asked: plain http is not encrypted, so others on the network can read the access token"
        " and private files, and can change answers",
        f"use https://{parts.netloc.partition(':')[0]}; where the network is trusted, pass --insecure or set"
        f" EMBHUB_INSECURE={registry}",
    )


def is_this_machine(host: str) -> bool:
    """Whether a host's name is that of the machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
