"""How fast login codes may be tried: few at once, then one in minutes, for each account and for each address.

A TOTP code has six digits, so that what counts is how many somebody may try: 5, then one in 5 minutes, for one account
from wherever they come. Who has the right code at hand meanwhile is refused as well; a passkey is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import Scope

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people.rate_limits import Buckets, Rate, host_of, site_of, too_fast

FOR_ACCOUNT = Rate(per_second=1 / 300, burst=5)
FOR_ADDRESS = Rate(per_second=1 / 10, burst=30)
FOR_STARTS = Rate(per_second=1.0, burst=60)
FOR_DEVICES = Rate(per_second=1 / 15, burst=20)
FOR_EXCHANGES = Rate(per_second=2.0, burst=300)  # jobs of one organisation leave by one address


class LoginPacing:
    """One process's limits on logging in; a restart fills the buckets."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = Buckets(clock)

    def take(self, scope: Scope, account: str | None) -> None:
        """One try at an account's code, whether or not there is such an account; None for a code that nobody guesses.

        Somebody who is logged in and confirms has a bucket of their own, which strangers cannot empty.

        Raises:
            RequestDeniedError: 429 with the seconds to wait.
        """
        self._take(f"address {site_of(host_of(scope))}", FOR_ADDRESS)
        if account is not None:
            self._take(f"account {account[:120]}", FOR_ACCOUNT)

    def give_back(self, scope: Scope, account: str | None) -> None:
        """The code was right: the try does not count."""
        self._buckets.spend(f"address {site_of(host_of(scope))}", FOR_ADDRESS, -1)
        if account is not None:
            self._buckets.spend(f"account {account[:120]}", FOR_ACCOUNT, -1)

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

    def guess(self, scope: Scope) -> None:
        """One try at the code that a program shows.

        Raises:
            RequestDeniedError: 429 with the seconds to wait.
        """
        self._take(f"address {site_of(host_of(scope))}", FOR_ADDRESS)

    def _take(self, name: str, rate: Rate) -> None:
        if wait := self._buckets.take(name, rate):
            raise _refused(wait)


def _refused(wait: float) -> RequestDeniedError:
    return too_fast(wait, "logins are limited", "a passkey is not counted; the operator can make a login link")
