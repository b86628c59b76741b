"""Addresses of PostgreSQL servers: read for the driver, and written without their passwords."""

from __future__ import annotations

import re
from typing import Any

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
        return {**DEFAULTS, **psycopg.conninfo.conninfo_to_dict(address)}
    except psycopg.Error:
        raise ConfigError(
            "the database's address cannot be read", "give one such as postgresql://user@host/embhub; see the libpq's"
            " documentation of connection URIs",
        ) from None  # fmt: skip


_PASSWORD = re.compile(r"(?<=[?&])(password|sslpassword)=[^&]*&?", re.IGNORECASE)


def shown(address: str) -> str:
    """The address without its password, as messages and the noted file have it."""
    start, _, rest = address.partition("://")
    middle = re.match(r"[^/?]*", rest)
    login, at, host = (middle[0] if middle else "").rpartition("@")
    rest = _PASSWORD.sub("", rest[len(middle[0]) if middle else 0 :]).rstrip("?&")
    return f"{start}://{login.partition(':')[0]}{at}{host}{rest}"


def has_password(address: str) -> bool:
    """Whether a password stands in the address."""
    return shown(address) != address.rstrip("?&")
