"""The choices that an operator has: their names, what they are where nobody chose, and how they are written."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from embhub.errors import UsageError

AUDIT_POLICIES = ("optional", "required")
DEFAULT_URL = "http://127.0.0.1:8642"
NONE = "none"
CLOSED = {"read.anonymous": "no", "repositories.default": "private"}  # what `init --closed` chooses
VISIBILITIES = ("public", "private", "gated")
LARGEST = 10**15
MOST_DAYS = 36_500

Value = float | bool | str | tuple[str, ...] | None


@dataclass(frozen=True)
class Setting:
    """`default` as it would be typed; `read` turns what was typed into a value; None is `none`: no limit."""

    default: str
    read: Callable[[str], Value]
    meaning: str


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or not 0 <= value <= LARGEST:
        raise ValueError(f"a number from 0 to {LARGEST:,} is needed")
    return value


def _days(text: str) -> float:
    if (value := _number(text)) > MOST_DAYS:
        raise ValueError(f"at most {MOST_DAYS:,} days are possible")
    return value


def _lifetime(text: str) -> float:
    if not 1 <= (value := _number(text)) <= 3_660:
        raise ValueError("from 1 to 3,660 days are possible")
    return value


def _days_if_any(text: str) -> float | None:
    return None if text == NONE else _days(text)


def _positive(text: str) -> float:
    if (value := _number(text)) <= 0:
        raise ValueError("a number above 0 is needed")
    return value


def _limit(text: str) -> float | None:
    return None if text == NONE else _number(text)


def _switch(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("yes or no is needed")
    return text == "yes"


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{', '.join(words[:-1])} or {words[-1]} is needed")
        return text

    return read


def _networks(text: str) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_network(word, strict=False)) for word in text.replace(",", " ").split())


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(_host(word) for word in text.lower().replace(",", " ").split())


def _host(word: str) -> str:
    if re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?\.?", word):
        return word.rstrip(".")
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        raise ValueError("names or addresses are needed, without scheme, port and path") from None


def _contacts(text: str) -> tuple[str, ...]:
    return _addresses(text, r"(mailto:[^\s@,]+@[^\s@,]+|tel:\+?[0-9-]+|https://[^\s/,]+\S*)", "mailto:, tel: or https:")


def _policies(text: str) -> tuple[str, ...]:
    return _addresses(text, r"https://[^\s/,]+\S*", "https:")


def _addresses(text: str, pattern: str, schemes: str) -> tuple[str, ...]:
    found = tuple(text.replace(",", " ").split())
    if any(not word.isascii() or len(word) > 300 or not re.fullmatch(pattern, word) for word in found):
        raise ValueError(f"addresses that begin with {schemes} are needed")
    return found


def _proxy_seconds(text: str) -> float | None:
    if text == NONE:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10:
        raise ValueError("none, or a whole number of seconds from 1 to 10, is needed")
    return float(text)


def _minutes(text: str) -> float:
    if not 1 <= (value := _number(text)) <= 1_440:
        raise ValueError("from 1 to 1,440 minutes are possible")
    return value


def _hours(text: str) -> float:
    if not 0.1 <= (value := _number(text)) <= 168:
        raise ValueError("from 0.1 to 168 hours are possible")
    return value


def _line(text: str) -> str:
    if not text.isprintable() or len(text) > 300:
        raise ValueError("one line of at most 300 characters is needed")
    return text


def _absolute(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("the absolute path of a file is needed")
    return _line(text)


def _issuer(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", text):
        raise ValueError("an https address without query is needed")
    return _line(text)


def _server(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if text and (not colon or not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", host) or not re.fullmatch(r"\d{1,5}", port)):
        raise ValueError("HOST:PORT is needed")
    return text


def _mail(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,253}", text):
        raise ValueError("a mail address is needed")
    return text


def _groups(text: str) -> tuple[str, ...]:
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    if any(not re.fullmatch(r"[^=\s][^=]*=[a-z0-9._-]+:(reader|publisher|auditor|approver)", rule) for rule in found):
        raise ValueError("GROUP=NAMESPACE:ROLE is needed, separated by commas; admin is no role of a group")
    return found


SETTINGS: Mapping[str, Setting] = {
    "read.anonymous": Setting("yes", _switch, "whether anybody may read public repositories without an access token"),
    "repositories.default": Setting("public", _one_of(*VISIBILITIES), "visibility of a repository made without one"),
    "rate.token_per_second": Setting("50", _positive, "requests a second that one token may go on making"),
    "rate.token_burst": Setting("2000", _positive, "requests that one token may make at once"),
    "rate.address_per_second": Setting("20", _positive, "requests a second from one address without a token"),
    "rate.address_burst": Setting("1000", _positive, "requests at once from one address without a token"),
    "rate.work_per_second": Setting("0.2", _positive, "CPU seconds a second for one caller's costly requests"),
    "rate.work_burst": Setting("3", _positive, "CPU seconds at once for one caller's costly requests"),
    "rate.exempt": Setting("", _networks, "networks without rate limits, a mirror's for example"),
    "quota.bytes": Setting("2000000000", _limit, "bytes that a namespace may hold, each object counted once"),
    "quota.repositories": Setting("1000", _limit, "repositories of a namespace"),
    "quota.releases": Setting("10000", _limit, "releases of a namespace"),
    "keyring.days": Setting("400", _lifetime, "days until a new keyring expires"),
    "timestamp.days": Setting("7", _lifetime, "days for which a timestamp confirms that the keyring is current"),
    "retention.audit_days": Setting(NONE, _days_if_any, "days that closed months of the audit log are kept"),
    "retention.deleted_days": Setting("0", _days, "days that the bytes of deleted releases are kept, unserved"),
    "retention.token_days": Setting("365", _days_if_any, "days that expired access tokens stay listed"),
    "session.idle_minutes": Setting("30", _minutes, "minutes without a request after which a browser is logged out"),
    "session.hours": Setting("8", _hours, "hours after which a browser is logged out in any case"),
    "oidc.issuer": Setting("", _issuer, "issuer of the OpenID provider at which people log in; empty for none"),
    "oidc.client_id": Setting("", _line, "client id of this registry at the provider"),
    "oidc.secret_file": Setting("", _line, "file that holds the client secret, outside the registry's folder"),
    "oidc.groups_claim": Setting("groups", _line, "claim of the ID token that lists a person's groups"),
    "oidc.groups": Setting("", _groups, "roles of groups: GROUP=NAMESPACE:ROLE, separated by commas"),
    "webhooks": Setting("no", _switch, "whether people may have webhooks"),
    "outgoing.hosts": Setting("", _hosts, "hosts that may be asked inside the network, or by plain http"),
    "mail.server": Setting("", _server, "HOST:PORT of the mail server (SMTP); empty for no mail"),
    "mail.tls": Setting("starttls", _one_of("starttls", "tls", "none"), "how the mail server is spoken to"),
    "mail.from": Setting("", _mail, "address that mail comes from"),
    "mail.user": Setting("", _line, "account at the mail server; empty for none"),
    "mail.password_file": Setting("", _line, "file that holds its password, outside the registry's folder"),
    "hosts.allowed": Setting("", _hosts, "names that the registry goes by beside that of its address"),
    "metrics.public": Setting("no", _switch, "whether anybody may read /metrics"),
    "certificate.file": Setting("", _absolute, "PEM file of the proxy's TLS certificate, whose end /metrics shows"),
    "security.contact": Setting("", _contacts, "where to report a vulnerability, for /.well-known/security.txt"),
    "security.policy": Setting("", _policies, "address of the disclosure policy that security.txt names"),
    "files.proxy_seconds": Setting(NONE, _proxy_seconds, "seconds for which a proxy may send a public file again"),
    "ready.free_bytes": Setting("200000000", _number, "free disk space below which /readyz says so"),
}


def parse(name: str, text: str) -> Value:
    """The value of a setting as it was typed.

    Raises:
        UsageError: no such setting, or not a value of it.
    """
    if name not in SETTINGS:
        raise UsageError(f"there is no setting {name!r}", f"there are: {', '.join(SETTINGS)}")
    try:
        return SETTINGS[name].read(text.strip())
    except ValueError as error:
        raise UsageError(f"{text!r} is not a value of {name}: {error}", SETTINGS[name].meaning) from error
