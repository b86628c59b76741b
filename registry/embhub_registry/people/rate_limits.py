"""How fast anybody may ask: a token bucket a token, and one an address where there is none.

A bucket holds `burst` requests and fills with `per_second`. Buckets live in memory: a restart fills them all. Exempt
are tokens made for mirrors, the networks of `rate.exempt`, and who calls from this machine without a proxy between.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from starlette.types import Scope

from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry

MOST_BUCKETS = 20_000
SETTINGS_SECONDS = 5.0
FORWARDED = frozenset([b"x-forwarded-for", b"forwarded", b"via"])

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Rate:
    """`burst` requests at once, `per_second` from then on."""

    per_second: float
    burst: float


class Buckets:
    """Token buckets by name; of many, those that were asked for last are kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, rate: Rate) -> float:
        """Take one request out; returns 0, or how many seconds to wait until there is one, none taken."""
        with self._guard:
            level = self._level(name, rate)
            wait = 0.0 if level >= 1 else (1 - level) / rate.per_second
            self._set(name, level if wait else level - 1)
            return wait

    def wait(self, name: str, rate: Rate) -> float:
        """How many seconds until the bucket holds anything; nothing is taken out."""
        with self._guard:
            level = self._level(name, rate)
            return 0.0 if level > 0 else -level / rate.per_second + 0.001

    def spend(self, name: str, rate: Rate, amount: float) -> None:
        """Take out what was used already; the bucket may then owe."""
        with self._guard:
            self._set(name, self._level(name, rate) - amount)

    def _level(self, name: str, rate: Rate) -> float:
        now = self._clock()
        level, then = self._levels.get(name, (rate.burst, now))
        return min(rate.burst, level + max(0.0, now - then) * rate.per_second)

    def _set(self, name: str, level: float) -> None:
        self._levels[name] = (level, self._clock())
        self._levels.move_to_end(name)
        if len(self._levels) > MOST_BUCKETS:
            self._levels.popitem(last=False)


class RateLimiter:
    """The rates of one registry, its settings read again every few seconds."""

    def __init__(self, registry: Registry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._buckets = Buckets(clock)
        self._read = -math.inf
        self._token = self._address = self._work = Rate(1, 1)
        self._exempt: tuple[Network, ...] = ()

    def check_address(self, scope: Scope) -> None:
        """A request without an account.

        Raises:
            RequestDeniedError: 429 with the seconds to wait.
        """
        host = host_of(scope)
        if is_local(scope) or self.is_exempt(host):
            return
        if wait := self._buckets.take(f"address {site_of(host)}", self._address):
            raise too_fast(wait, f"without a token one address may make {self._address.per_second:g} requests a second",
                           "with a token the limit is higher and your own")  # fmt: skip

    def check_account(self, scope: Scope, account: Account) -> None:
        """A request with a token.

        Raises:
            RequestDeniedError: 429 with the seconds to wait.
        """
        if account.unlimited or is_local(scope) or self.is_exempt(host_of(scope)):
            return
        if wait := self._buckets.take(f"token {account.token_id}", self._token):
            raise too_fast(wait, f"one token may make {self._token.per_second:g} requests a second",
                           "for a mirror the registry's admin can make a token without limits")  # fmt: skip

    def check_work(self, scope: Scope, account: Account | None) -> None:
        """A request that takes much of the processor, of an account or, without one, of an address.

        Raises:
            RequestDeniedError: 429 where the caller has used more of it than they may.
        """
        if self._works_freely(scope, account):
            return
        if wait := self._buckets.wait(_worker(scope, account), self._work):
            raise too_fast(wait, f"one caller may use {self._work.per_second:g} seconds of CPU a second for this",
                           "what was computed before is answered at once")  # fmt: skip

    def note_work(self, scope: Scope, account: Account | None, seconds: float) -> None:
        """Count the CPU time that a request took."""
        if not self._works_freely(scope, account):
            self._buckets.spend(_worker(scope, account), self._work, seconds)

    def _works_freely(self, scope: Scope, account: Account | None) -> bool:
        return (account is not None and account.unlimited) or is_local(scope) or self.is_exempt(host_of(scope))

    def is_exempt(self, host: str) -> bool:
        """Whether the operator set this address free of limits."""
        self._refresh()
        return self.was_exempt(host)

    def was_exempt(self, host: str) -> bool:
        """The same as of when the settings were last read, if ever."""
        return any(_within(host, network) for network in self._exempt)

    def _refresh(self) -> None:
        if self._clock() - self._read < SETTINGS_SECONDS:
            return
        db = self._registry.database.connection()
        self._token = Rate(*(configuration.number(db, f"rate.token_{part}") for part in ("per_second", "burst")))
        self._address = Rate(*(configuration.number(db, f"rate.address_{part}") for part in ("per_second", "burst")))
        self._work = Rate(*(configuration.number(db, f"rate.work_{part}") for part in ("per_second", "burst")))
        networks = configuration.read(db, "rate.exempt")
        assert isinstance(networks, tuple)  # noqa: S101  # the only kind that this setting has
        self._exempt = tuple(ipaddress.ip_network(network) for network in networks)
        self._read = self._clock()


def too_fast(wait: float, message: str, hint: str) -> RequestDeniedError:
    """429 in the words of RFC 6585 and, for newer clients, of the draft on RateLimit fields."""
    seconds = max(1, math.ceil(wait))
    denied = RequestDeniedError(429, "rate", f"too many requests: {message}", f"wait {_in_words(seconds)}; {hint}")
    denied.headers = {"Retry-After": str(seconds), "RateLimit": f'"requests";r=0;t={seconds}'}
    return denied


def _in_words(seconds: int) -> str:
    if seconds >= 120:
        return f"{math.ceil(seconds / 60)} minutes"
    return f"{seconds} second{'s' * (seconds > 1)}"


def _worker(scope: Scope, account: Account | None) -> str:
    return f"work of token {account.token_id}" if account else f"work of address {site_of(host_of(scope))}"


def is_local(scope: Scope) -> bool:
    """Whether the caller is on this machine, with no proxy that speaks for somebody else."""
    return _is_loopback(host_of(scope)) and FORWARDED.isdisjoint([name for name, _ in scope["headers"]])


def host_of(scope: Scope) -> str:
    """The caller's address, as a trusted proxy or the connection says; empty where nothing does."""
    client = scope.get("client")
    return str(client[0]) if client else ""


@lru_cache(maxsize=1000)
def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _within(host: str, network: Network) -> bool:
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False


@lru_cache(maxsize=1000)
def site_of(host: str, bits: int = 64) -> str:
    """An address as one caller holds it: of IPv6 the first 64 bits, or so many of a whole line's."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((address, bits), strict=False))
