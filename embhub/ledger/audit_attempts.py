"""Each audit of a file, written to the site's sealed ledger before it runs: no try can be taken back in silence.

    attempt = begin_audit(digest, suite="standard", shadows=8, sides=commitments.commit(facts))
    ...  # every seed follows from attempt.id under the site's key
    finish_audit(attempt, "no-leak-detected")

Whoever tries again with other seeds, sides or shadows leaves a second entry, and a report tells how many there are. An
audit that was interrupted goes on under its own number, with its own id: it draws nothing anew.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from embhub.errors import UsageError
from embhub.ledger.books import Books, open_books
from embhub.ledger.chain import Entry
from embhub.ledger.spending import AUDIT_BEGUN, AUDIT_ENDED, check_digest

MOST_SHADOWS: Final = 1_000_000
_WORD = re.compile(r"[a-z][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class AuditAttempt:
    """One audit of one file. `id` is random hex and tells nothing of anybody; seeds are derived from it.

    `number` is 1 for the first audit of this file; `count` is how many of them the ledger held when it was asked.
    `sides` is a keyed commitment to both sides. `verdict` is None until the audit ends. `cohort` is a keyed commitment
    to the recipe, whoever the patients are; `cohort_number` counts audits on shadows of this file or this recipe.
    """

    id: str
    file: str
    suite: str
    shadows: int
    sides: str
    number: int
    count: int
    at: str
    verdict: str | None = None
    cohort: str = ""
    cohort_number: int = 1


@dataclass(frozen=True)
class AuditPlan:
    """An audit that is written down and has not run: what its design may say. `commitment` is that of its report."""

    attempt: AuditAttempt
    bounds: Mapping[str, float]
    commitment: str


def begin_audit(file_digest: str, *, suite: str, shadows: int, sides: str, cohort: str = "") -> AuditAttempt:
    """Write down that an audit of a file is about to run; on disk when this returns.

    An earlier one of the same file, suite, shadows and sides that has not ended is resumed: same id, same number.

    Args:
        file_digest: SHA-256 (hex) of the embedding.
        suite: name of the suite.
        shadows: shadow embeddings that are attacked, 0 for suites without any.
        sides: HMAC-SHA256 (hex) over both sides, as `embhub.site.memory.secret.commit` gives.
        cohort: the same over the recipe; empty where nothing is compared.

    Raises:
        UsageError: no such digest, suite or number.
        LedgerTamperedError: the ledger is not what this site wrote.
        ConfigError: it cannot be read or written; run no audit.
    """
    asked = (check_digest(file_digest), _check_word(suite, "suite"), _check_shadows(shadows), check_digest(sides))
    with open_books() as books:
        everything = _all(books)
        earlier = tuple(item for item in everything if item.file == file_digest)
        for attempt in earlier:
            if attempt.verdict is None and (attempt.file, attempt.suite, attempt.shadows, attempt.sides) == asked:
                return attempt
        attempt_id = secrets.token_hex(16)
        body = {"audit": attempt_id, "file": file_digest, "suite": suite, "shadows": shadows, "sides": sides}
        body |= {"cohort": check_digest(cohort)} if cohort else {}
        at = books.ledger.append(AUDIT_BEGUN, body).at
    number = len(earlier) + 1
    alike = 1 + sum(_alike(item, file_digest, cohort) for item in everything)
    return AuditAttempt(attempt_id, *asked, number=number, count=number, at=at, cohort=cohort, cohort_number=alike)


def finish_audit(attempt: AuditAttempt, verdict: str) -> None:
    """Write down how an audit ended. The same verdict again is no harm.

    Raises:
        UsageError: the ledger knows no such audit, or it ended with another verdict.
        LedgerTamperedError, ConfigError: as `begin_audit`.
    """
    _check_word(verdict, "verdict")
    with open_books() as books:
        known = {item.id: item for item in _of(books, attempt.file)}.get(attempt.id)
        if known is None:
            raise UsageError(f"the ledger knows no audit {attempt.id[:40]!r} of this file", "begin the audit anew")
        if known.verdict is None:
            books.ledger.append(AUDIT_ENDED, {"audit": attempt.id, "verdict": verdict})
        elif known.verdict != verdict:
            raise UsageError(
                f"audit {known.number} of this file ended already, with {known.verdict}", "a new audit gets a new entry"
            )


def audits_of(file_digest: str) -> tuple[AuditAttempt, ...]:
    """Every audit of a file that the ledger holds, in the order in which they began.

    Raises:
        UsageError: not a SHA-256.
        LedgerTamperedError, ConfigError: as `begin_audit`.
    """
    check_digest(file_digest)
    with open_books() as books:
        return _of(books, file_digest)


def replay_audits(entries: Sequence[Entry]) -> tuple[AuditAttempt, ...]:
    """Every audit in a ledger's entries, each with its number and count among those of its file."""
    found: dict[str, AuditAttempt] = {}
    for entry in entries:
        body = entry.body
        if entry.kind == AUDIT_BEGUN:
            number = 1 + sum(item.file == body["file"] for item in found.values())
            cohort = body.get("cohort", "")
            alike = 1 + sum(_alike(item, body["file"], cohort) for item in found.values())
            found[body["audit"]] = AuditAttempt(
                body["audit"], body["file"], body["suite"], body["shadows"], body["sides"],
                number=number, count=number, at=entry.at, cohort=cohort, cohort_number=alike,
            )  # fmt: skip
        elif entry.kind == AUDIT_ENDED:
            found[body["audit"]] = replace(found[body["audit"]], verdict=body["verdict"])
    last = {item.file: item.number for item in found.values()}
    return tuple(replace(item, count=last[item.file]) for item in found.values())


def _alike(earlier: AuditAttempt, file_digest: str, cohort: str) -> bool:
    """Whether an earlier audit could have cleared this recipe: it was of this file, or of another of the same recipe,
    and attacked shadows."""
    return earlier.shadows > 0 and (earlier.file == file_digest or (bool(cohort) and earlier.cohort == cohort))


def _of(books: Books, file_digest: str) -> tuple[AuditAttempt, ...]:
    return tuple(item for item in _all(books) if item.file == file_digest)


def _all(books: Books) -> tuple[AuditAttempt, ...]:
    books.account()  # opens an empty ledger, and refuses one of another key
    return replay_audits(books.ledger.read())


def _check_word(word: str, what: str) -> str:
    if not _WORD.fullmatch(word):
        raise UsageError(f"{word[:80]!r} is no {what}", "write it in lower case, such as standard")
    return word


def _check_shadows(shadows: int) -> int:
    if not 0 <= shadows <= MOST_SHADOWS:
        raise UsageError(f"{shadows} shadows cannot be trained", "name how many are attacked, 0 for none")
    return shadows
