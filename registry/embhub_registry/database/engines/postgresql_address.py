"""Addresses of PostgreSQL servers: read for the driver, and written without their passwords."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from embhub.errors import ConfigError

DEFAULTS = {
    "connect_timeout": "5", "application_name": "embhub-registry", "target_session_attrs": "read-write",
    "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "20000",
}  # fmt: skip


def parse_address(address: str) -> dict[str, Any]:
    """What the driver is given.

    Raises:
        ConfigError: it cannot be read; the message does not repeat it.
    """
    import psycopg  # an extra

    try:
        asked = psycopg.conninfo.conninfo_to_dict(address)
        named = psycopg.conninfo.conninfo_to_dict(shown(address))
        if named != {name: value for name, value in asked.items() if name not in _SECRETS}:
            raise psycopg.ProgrammingError  # a part of the password would be shown
        return {**DEFAULTS, **asked}
    except psycopg.Error:
        raise ConfigError(
            "the database's address cannot be read", "give one such as postgresql://user@host/embhub; see the libpq's"
            " documentation of connection URIs",
        ) from None  # fmt: skip


_SECRETS = {"password", "sslpassword"}
_OPTION = re.compile(r"(?<=[?&])([^=&]*)=[^&]*&?")


def shown(address: str) -> str:
    """The address without its password, as messages and the noted file have it."""
    start, _, rest = address.partition("://")
    middle = re.match(r"[^/]*", rest)
    login, at, host = (middle[0] if middle else "").rpartition("@")
    after = f"{host}{rest[len(middle[0]) if middle else 0 :]}"
    after = _OPTION.sub(lambda found: "" if unquote(found[1]).lower() in _SECRETS else found[0], after)
    return f"{start}://{login.partition(':')[0]}{at}{after.rstrip('?&')}"


def has_password(address: str) -> bool:
    """Whether a password stands in the address."""
    return shown(address) != address.rstrip("?&")
