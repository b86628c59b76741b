"""A registry's origin: its host name, which every statement names, so that none counts at another registry. Pure.

The origin follows from the address in the registry's own keyring, never from the address that was asked: a mirror, a
proxy and a USB stick have other addresses, and serve the same releases.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

_HOST = re.compile(r"[0-9a-z](?:[0-9a-z._-]{0,251}[0-9a-z])?")


def origin_of(address: str) -> str:
    """The host name of a registry's address, in lower case, without port and without a dot at its end.

    `https://Hub.Example.org:8443` gives `hub.example.org`, `http://[::1]:8000` gives `::1`.

    Raises:
        ValueError: the address has no host name.
    """
    _, separator, rest = address.partition("://")
    place = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2].lower() if separator else ""
    host = place.partition(":")[0].removesuffix(".")
    if place.startswith("["):
        host = str(IPv6Address(place[1:].partition("]")[0]))  # its shortest spelling
    if fault := origin_fault(host):
        raise ValueError(f"{address!a} is not the address of a registry: its host name is {fault}")
    return host


def origin_fault(text: str) -> str | None:
    """Why `text` is no origin, or None."""
    if _HOST.fullmatch(text) or (":" in text and _is_ipv6(text)):
        return None
    return "not a host name in lower-case ASCII, without port"


def _is_ipv6(text: str) -> bool:
    try:
        return str(IPv6Address(text)) == text
    except ValueError:
        return False
