"""Which files this site made ready to be sent, and as what: so that two of almost the same patients are noticed.

Two files without differential privacy that differ by one patient tell, side by side, of that one: subtract them. Who
objected to the first version and is left out of the second is the one who is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from embhub.errors import PrivacyError
from embhub.ledger.books import Books, ledger_exists, open_books
from embhub.ledger.linking import reached
from embhub.ledger.spending import WITHOUT, Account, Published, Spending
from embhub.site.memory import runs

Confirm = Callable[[str], bool]
FEW = 9
"""From one to so many patients apart, a new version is asked about first."""

_HINT = (
    "change ten patients or more at once, wait until more have changed, train with --epsilon, or yank the earlier"
    " version without a new one; `embhub push --yes` sends it nevertheless"
)


def ask_about_few_apart(file_digest: str, *, also: Iterable[str] = (), confirm: Confirm | None = None) -> None:
    """Ask before a file leaves whose patients differ by one to nine from those of a file that this site published.

    Only where both were trained here without differential privacy: whoever compares them needs the files, not their
    names, so every repository counts. The same file, or the same patients, ask nothing. A port counts as the file that
    it was made from.

    Args:
        file_digest: of the file; of a port, that of its source, or its own where this site made the port.
        also: digests of published files that other records of this site know of.
        confirm: asked with the question; None says no.

    Raises:
        PrivacyError: nobody agreed. Nothing was sent.
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read; or the record of a port cannot be
            used, so that nobody knows whose patients to compare.
    """
    if not ledger_exists():
        return
    with open_books() as books:
        apart = _count_apart(books, file_digest, also)
    if apart is None:
        return
    published, count = apart
    patients = "1 patient" if count == 1 else f"{count} patients"
    question = (
        f"the patients of this version differ from those of {published} by {patients}, and neither was trained with"
        f" differential privacy: who compares the two files may find out about {'that one' if count == 1 else 'them'}"
    )
    if not (confirm and confirm(f"{question}. Send it nevertheless?")):
        raise PrivacyError(question, _HINT)


def note_published(
    file_digest: str, repository: str, version: str, *, on: str = "", source: str = "", registry: str = ""
) -> None:
    """Write down that a file was sent, or made ready to be sent, as a version. Again is no harm.

    Args:
        on: where else than at its registry: `hub:OWNER/NAME`.
        source: of a port, the file that it was made from.
        registry: the name of the registry that it was signed for.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be written.
    """
    published = Published(file_digest, repository, version, on, source, registry)
    with open_books() as books:
        if published not in books.account().published:
            books.ledger.append("published", {name: value for name, value in vars(published).items() if value})


def _count_apart(books: Books, file_digest: str, also: Iterable[str]) -> tuple[str, int] | None:
    """The published file that is nearest, among those that are few patients apart, and by how many."""
    account = books.account()
    new = _plain_training(account, file_digest)
    if new is None:
        return None
    earlier = dict.fromkeys(also, "an earlier version")
    earlier |= {item.source or item.file: f"{item.repository} {item.version}" for item in account.published}
    found = []
    for digest, published in earlier.items():
        old = _plain_training(account, digest) if digest != file_digest else None
        if old is None:
            continue
        before = reached(books.sets, old, account.costly, unit=new.unit)
        apart = len(np.setxor1d(before, books.sets.load(new.units)))
        if len(before) and 1 <= apart <= FEW:
            found.append((published, apart))
    return min(found, key=lambda item: item[1], default=None)


def _plain_training(account: Account, file_digest: str) -> Spending | None:
    """The training without privacy behind a file, which may be a port, or a port of a port.

    Private records are read only of files that the ledger does not know as trained here, so a record that was lost or
    damaged stops no push of others.
    """
    for digest in runs.origins(file_digest):
        if found := [run for run in account.runs.values() if digest in run.released]:
            return next((run for run in reversed(found) if run.mechanism == WITHOUT), None)
    return None
