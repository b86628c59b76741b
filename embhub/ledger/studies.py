"""Studies of several sites in this site's ledger: charged once, for all steps, before the first one.

    run = studies.charge(study, patient_ids)  # on disk when it returns; no crash or withdrawal gives anything back
    ...
    studies.note_release(study.digest, file_digest)  # once this site signed the final file

Patients are charged by the larger of the study's figures: what another site of it could read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from embhub.errors import PrivacyError, UsageError
from embhub.ledger import budget
from embhub.ledger.books import open_books
from embhub.ledger.forecast import tell_total
from embhub.ledger.publications import Confirm
from embhub.ledger.spending import check_digest
from embhub.ledger.unit_sets import digest_of
from embhub.privacy.composition import Composition
from embhub.study.plan import Study

MECHANISM: Final = "dp-sgd"


def words(study: Study) -> str:
    """What joining costs each patient of this site, before it is asked for."""
    return (
        f"joining charges each patient for all {study.attempts:,} steps at once: epsilon"
        f" {study.epsilon_against_sites:g} with delta {study.delta:g}, as it holds against another site of the study."
        " Nothing is given back, whether the study ends, loses a step or is withdrawn from"
    )


def tell(
    study: Study, *, say: Callable[[str], None], warn: Callable[[str], None], confirm: Confirm | None
) -> Composition:
    """Say what joining costs, and what this site's trainings then come to; nothing is charged.

    Args:
        say, warn: the one hears the figures, the other a total that is weak.
        confirm: asked where the total rules out hardly any attack; None where there is nobody to ask.

    Raises:
        PrivacyError: whoever was asked said no.
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read or written.
    """
    say(words(study))
    return tell_total(
        study.noise.against_sites, unit="patient", mechanism=MECHANISM, delta=study.delta, run="", say=say, warn=warn,
        confirm=confirm, question="Join nevertheless?", hint="a study of more sites, or fewer steps, costs less",
    )  # fmt: skip


def charge(
    study: Study, patients: Iterable[str], *, pictures: Iterable[tuple[str, str]] = (),
    on_note: Callable[[str], None] | None = None,
) -> str:  # fmt: skip
    """Charge this site's patients for a whole study; on disk when this returns.

    Args:
        patients, pictures, on_note: as in `embhub.ledger.budget.reserve`.

    Returns:
        The run's id in the ledger.

    Raises:
        BudgetExceededError: a cap would be exceeded; nothing was charged.
        UsageError: no patients, or the ledger was charged for this study before.
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read or written.
    """
    noise = study.noise.against_sites
    with budget.reserve(
        patients, unit="patient", mechanism=MECHANISM, q=noise.q, sigma=noise.sigma, steps=noise.steps,
        delta=study.delta, pictures=pictures, on_note=on_note, study=study.digest,
    ) as run:  # fmt: skip
        return run.run


def find(digest: str) -> str | None:
    """Under which run this site was charged for the study of this digest; None where it was not.

    Raises:
        LedgerTamperedError, ConfigError: as `charge`.
    """
    with open_books() as books:
        return books.account().joined.get(digest)


def check_members(digest: str, patients: Iterable[str], *, pictures: Iterable[tuple[str, str]]) -> None:
    """Refuse images that are not, patient by patient and picture by picture, those that `charge` was called with.

    Raises:
        PrivacyError: they are others, or this site was not charged for the study of this digest.
        LedgerTamperedError, ConfigError: as `charge`.
    """
    with open_books() as books:
        account, sets = books.account(), books.sets
        run, links = account.runs.get(account.joined.get(digest, "")), sets.pairs(pictures)
        ids = digest_of(sets.keyed(patients, unit="patient"))
        if run is None or (ids, digest_of(links) if len(links) else None) != (run.units, run.pictures):
            raise PrivacyError("the images are not those that were charged", "put the images back as they were")


def note_release(digest: str, file_digest: str) -> None:
    """Note which file the study of this digest became, once this site signed it; again is no harm.

    Raises:
        UsageError: this site was not charged for the study, or no SHA-256.
        LedgerTamperedError, ConfigError: it could not be noted; what was spent counts all the same.
    """
    with open_books() as books:
        account = books.account()
        if (run := account.joined.get(digest)) is None:
            raise UsageError("this site's privacy ledger knows no such study", "sign for studies that the site joined")
        if check_digest(file_digest) not in account.runs[run].released:
            books.ledger.append("released", {"run": run, "digest": file_digest})
