"""Which bucket a registry's objects are in, and how it is reached: an address, and the usual AWS variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from embhub.errors import ConfigError

SCHEME = "s3://"
GRACE = timedelta(hours=1)
LONGEST_GRACE = 30 * 24 * 3600
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,100}(/[A-Za-z0-9._-]{1,100}){0,9}")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_FORM = "write it as s3://BUCKET/PREFIX; endpoint and keys come from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on"


@dataclass(frozen=True)
class S3Place:
    """A bucket, the prefix of every key, and how long an object is kept that no commit names yet."""

    bucket: str
    prefix: str
    grace: timedelta = GRACE

    def __str__(self) -> str:
        """The address without its choices; it never holds a key."""
        return f"{SCHEME}{self.bucket}/{self.prefix}"


def parse(url: str) -> S3Place:
    """Read `s3://BUCKET/PREFIX`, with `?grace=SECONDS` where somebody chose another time than an hour.

    Raises:
        ConfigError: it is not of this form. Its text is not repeated: somebody may have put a key into it.
    """
    try:
        parts = urlsplit(url)
        choices = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        seconds = float(choices.pop("grace", GRACE.total_seconds()))
        prefix = parts.path.strip("/")
        good = parts.scheme == "s3" and "@" not in parts.netloc and not parts.fragment and not choices
        good = good and _BUCKET.fullmatch(parts.netloc) is not None and _PREFIX.fullmatch(prefix) is not None
        good = good and not {".", ".."} & set(prefix.split("/")) and 0 <= seconds <= LONGEST_GRACE
    except ValueError:
        good = False
    if not good:
        raise ConfigError("the address of the object store is not one that this program reads", _FORM)
    return S3Place(parts.netloc, prefix, timedelta(seconds=seconds))


def endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """The address of the service, as the AWS variables name it; "" for Amazon's own.

    Raises:
        ConfigError: it is no address, or its connection would not be encrypted and nobody allowed that.
    """
    named = next((environment[name] for name in _ENDPOINTS if environment.get(name)), "")
    if not named:
        return ""
    parts = urlsplit(named)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ConfigError(
            "AWS_ENDPOINT_URL is not the address of an object store", "for example https://minio.example.org:9000"
        )
    if parts.scheme == "http" and not _is_loopback(parts.hostname) and not allows_http(environment):
        raise ConfigError(
            f"the object store at {parts.hostname} would be asked without encryption (http)",
            "use https, or set AWS_ALLOW_HTTP=true where nobody else is on that network",
        )
    return named.rstrip("/")


def allows_http(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody allowed connections without encryption."""
    return environment.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1", "yes")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
