"""How fast login codes may be tried: few at once, then one in minutes, for each account and for each address.

A TOTP code has six digits, so that what counts is how many somebody may try: 5, then one in 5 minutes, for one account
from wherever they come. Who has the right code at hand meanwhile is refused as well, but for a browser that logged in
before; a passkey is not.
Tries are counted in the database, so that several servers allow no more than one. What only saves work is counted by
each process.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable

from starlette.types import Scope

from embhub.errors import EmbhubError
from embhub_registry.database import Database
from embhub_registry.database.people import login_limits
from embhub_registry.people.rate_limits import Buckets, Rate, host_of, site_of, too_fast

FOR_ACCOUNT = Rate(per_second=1 / 300, burst=5)
FOR_ADDRESS = Rate(per_second=1 / 10, burst=30)
FOR_STARTS = Rate(per_second=1.0, burst=60)
FOR_DEVICES = Rate(per_second=1 / 15, burst=20)
FOR_EXCHANGES = Rate(per_second=2.0, burst=300)  # jobs of one organisation leave by one address


class LoginPacing:
    """The limits on logging in. A try is counted before a code is compared, in a transaction of its own.

    Args:
        database: Where tries are counted.
        clock: Seconds, for what each process counts; a restart fills those buckets.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._buckets = Buckets(clock)

    def take(self, scope: Scope, account: str | None, *, shared: bool = True) -> None:
        """One try at an account's code, whether or not there is such an account; None for a code that nobody guesses.

        Somebody who is logged in and confirms, or whose browser logged in before, has a bucket of their own, which
        strangers cannot empty. Blocks: for a thread.

        Args:
            scope: The request.
            account: Whose code it is.
            shared: Whether it counts for everybody at the address too.

        Raises:
            RequestDeniedError: 429 with the seconds to wait.
            StorageFullError, DatabaseBusyError, DatabaseUnavailableError: it could not be counted.
        """
        tries, db = _tries(scope, account, shared), self._database.connection()
        for digest, interval, burst in tries:  # a flood costs no transaction
            _refuse(login_limits.wait(db, digest, interval=interval, burst=burst))
        with self._database.writing() as db:
            waits = [login_limits.take(db, digest, interval=interval, burst=burst) for digest, interval, burst in tries]
        _refuse(max(waits))

    def give_back(self, scope: Scope, account: str | None, *, shared: bool = True) -> None:
        """The code was right: the try does not count, unless the database fails just then. Blocks: for a thread."""
        with contextlib.suppress(EmbhubError), self._database.writing() as db:
            for digest, interval, _ in _tries(scope, account, shared):
                login_limits.give_back(db, digest, interval=interval)

    def start_device(self, scope: Scope) -> None:
        """One program that begins to wait for an approval here. There is room for a thousand from everywhere.

        Raises:
            RequestDeniedError: 429 with the seconds to wait.
        """
        self._take(f"device {site_of(host_of(scope))}", FOR_DEVICES)

    def start(self, scope: Scope) -> None:
        """One login that begins here and is remembered until it ends.

        Raises:
            RequestDeniedError: 429 with the seconds to wait.
        """
        self._take(f"start {site_of(host_of(scope))}", FOR_STARTS)

    def exchange(self, scope: Scope) -> None:
        """One token of a workload that is to be checked.

        Raises:
            RequestDeniedError: 429 with the seconds to wait.
        """
        self._take(f"exchange {site_of(host_of(scope))}", FOR_EXCHANGES)

    def _take(self, name: str, rate: Rate) -> None:
        _refuse(1000 * self._buckets.take(name, rate))


def _tries(scope: Scope, account: str | None, shared: bool) -> list[tuple[bytes, int, int]]:
    """Of each bucket that a try is taken from: digest of its name, milliseconds of one try, tries at most."""
    names = [(f"address {site_of(host_of(scope))}", FOR_ADDRESS)] if shared or account is None else []
    if account is not None:
        names.append((f"account {account[:120]}", FOR_ACCOUNT))
    return [
        (hashlib.sha256(name.encode("utf-8", "replace")).digest(), round(1000 / rate.per_second), int(rate.burst))
        for name, rate in names
    ]


def _refuse(wait: float) -> None:
    """Raise 429 if there are milliseconds to wait."""
    if wait:
        raise too_fast(
            wait / 1000, "logins are limited",
            "or use a passkey, which does not count as an attempt, or ask the operator for a login link",
        )  # fmt: skip
