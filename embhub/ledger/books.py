"""Where this site keeps its privacy ledger, opened by one process at a time; and which runs are alive.

`state/budget/` holds the ledger, the sets of keyed ids and a lock for each run that is going on; the ledger's head
lies in the config folder beside the site's key, so that losing one folder does not go unnoticed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from embhub.errors import ConfigError
from embhub.ledger.chain import Ledger
from embhub.ledger.spending import Account, opening, replay
from embhub.ledger.unit_sets import UnitSets
from embhub.site import config
from embhub.site.memory.secret import derive_key


@dataclass(frozen=True)
class Books:
    """The ledger and the sets that it names, while no other process has them."""

    ledger: Ledger
    sets: UnitSets

    def account(self) -> Account:
        """All entries, checked and replayed; an empty ledger is opened.

        Raises:
            LedgerTamperedError: the ledger is not what this site wrote.
            ConfigError: it cannot be read or written, or was kept under another site key.
        """
        key_id = derive_key("budget key id").hex()[:32]
        entries = self.ledger.read()
        if not entries:
            entries = [self.ledger.append("opened", opening(key_id))]
        return replay(entries, key_id=key_id)

    def settle_dead(self) -> Account:
        """The account, after runs whose process is gone were settled: what they announced bounds what they took."""
        account = self.account()
        dead = False
        for item in account.runs.values():
            if not item.settled and (lock := try_lock(item.run)) is not None:
                self.ledger.append("settled", {"run": item.run})
                unlock(lock, item.run)
                dead = True
        return self.account() if dead else account


def ledger_exists() -> bool:
    """Whether this site has a ledger, or had one: a machine that only sends needs none."""
    paths = config.paths()
    return (paths.state / "budget" / "ledger.jsonl").exists() or (paths.config / "budget.head").exists()


@contextmanager
def open_books() -> Iterator[Books]:
    """Wait for other processes, then have ledger and sets to oneself.

    Raises:
        ConfigError: the folders cannot be written, or the site's key cannot be read.
    """
    folder = config.paths().state / "budget"
    ledger = Ledger(folder / "ledger.jsonl", head=config.paths().config / "budget.head", key=derive_key("budget"))
    with ledger.locked():
        yield Books(ledger, UnitSets(folder / "sets", derive_key("budget units")))


def try_lock(run: str) -> int | None:
    """Mark a run as alive for as long as this process lives; None where another one has it.

    Raises:
        ConfigError: the folder cannot be written.
    """
    path = config.paths().state / "budget" / "runs" / f"{run}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", "check who may write there") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def unlock(descriptor: int, run: str) -> None:
    """The run is over."""
    (config.paths().state / "budget" / "runs" / f"{run}.lock").unlink(missing_ok=True)
    os.close(descriptor)
