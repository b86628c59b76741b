"""Addresses of registries: a host, or a folder of files on this machine, each in one spelling."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from embhub.errors import ConfigError

_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:[0-9]{1,5})?")
_PATHS = ("file:", "/", "./", "../", "~/")  # how the path of a folder begins


def folder_of(address: str) -> Path | None:
    """The folder that a checked address names, or None where it names a host."""
    return Path(unquote(address.removeprefix("file://"))) if address.startswith("file:///") else None


def check_registry(address: str) -> str:
    """The address without a trailing slash; a folder, such as a memory stick's, as `file:///…`.

    Raises:
        ConfigError: neither an http or https address of a host root, nor the path of a folder.
    """
    hint = "give the address of the host alone, such as https://hub.example.org, or the path of a folder"
    if address.strip().startswith(_PATHS):
        return _check_folder(address.strip())
    try:
        parts = urlsplit(address.strip())
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError as error:
        raise ConfigError("the registry's address cannot be read", hint) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"not the address of a registry: {address!r}", _meant(address.strip()) or hint)
    if parts.username or parts.password:
        raise ConfigError("the registry's address carries a credential", f"{hint}; store the token with `embhub login`")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"the registry's address has a path or query: {address!r}", hint)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def _meant(address: str) -> str:
    """What somebody meant who left out http:// or https://; empty where that is not what is wrong."""
    if not _HOST.fullmatch(address):
        return ""
    host = address.partition(":")[0]
    return f"did you mean {'http' if host in ('localhost', '127.0.0.1') else 'https'}://{address}?"


def _check_folder(address: str) -> str:
    """A path, or a `file:` address of this machine, in one spelling: absolute, and without a trailing slash."""
    path = address
    if address.startswith("file:"):
        parts = urlsplit(address)
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or parts.fragment:
            raise ConfigError(f"not the address of a folder: {address!r}", "write it as file:///media/stick")
        path = unquote(parts.path)
    if "\0" in path:
        raise ConfigError("the registry's address holds a null character", "give the path of a folder")
    return Path(os.path.normpath(Path(path).expanduser().absolute())).as_uri()
