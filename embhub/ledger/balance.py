"""The privacy ledger at a glance: cohorts that hang together by shared patients, and what each has spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from embhub.errors import UsageError
from embhub.ledger.audit_attempts import replay_audits
from embhub.ledger.books import Books, open_books, try_lock, unlock
from embhub.ledger.linking import charges, reached
from embhub.ledger.spending import Account, Cap, Spending
from embhub.ledger.unit_losses import contains, families, loss_of
from embhub.ledger.unit_sets import UNITS
from embhub.privacy.epsilon import compose
from embhub.privacy.rdp import epsilon_of, publish_epsilon


def balance(*, delta: float) -> dict[str, Any]:
    """Everything that `embhub budget show` tells; an epsilon of None is infinite. Names nobody.

    Raises:
        UsageError: delta is not between 0 and 1.
        LedgerTamperedError: the ledger is not what this site wrote.
        ConfigError: it cannot be read.
    """
    if not 0 < delta < 1:
        raise UsageError(f"delta {delta} is not between 0 and 1", "delta is a small number, such as 1e-5")
    with open_books() as books:
        account = books.account()
        entries, head = books.ledger.tip
        return {
            "delta": delta,
            "entries": entries,
            "head": head,
            "caps": [_cap(cap, books) for cap in account.caps],
            "opened": account.opened,
            "audits": [asdict(audit) for audit in replay_audits(books.ledger.read())],
            "cohorts": [
                _cohort(runs, account, books, delta=delta) for runs in _families(list(account.runs.values()), books)
            ],
        }


def _families(runs: Sequence[Spending], books: Books) -> list[list[Spending]]:
    found = []
    for unit in UNITS:
        same = [run for run in runs if run.unit == unit]
        sets = [books.sets.load(run.units) for run in same]
        found += [[same[index] for index in family] for family in families(sets)]
    return found


def _cohort(runs: Sequence[Spending], account: Account, books: Books, *, delta: float) -> dict[str, Any]:
    """One cohort; `linked` are runs that read its patients' pictures without ids, or its pictures as patients'."""
    unit = runs[0].unit
    units = np.unique(np.concatenate([books.sets.load(run.units) for run in runs]))
    known = account.costly
    others = [
        run for run in known if run.unit != unit and contains(units, reached(books.sets, run, known, unit=unit)).any()
    ]
    spent = charges(books.sets, [run for run in known if run in (*runs, *others)], unit=unit, known=known)
    loss = loss_of(units, spent, delta=delta)
    return {
        "unit": unit,
        "units": len(units),
        "epsilon": _finite(loss.epsilon),
        "units_at_epsilon": loss.worst,
        "trainings_of_one": loss.trainings,
        "released": sum(bool(run.released) for run in runs),
        "linked": [run.run for run in others],
        "runs": [_run(run, delta=delta) for run in runs],
    }


def _run(run: Spending, *, delta: float) -> dict[str, Any]:
    return {
        "run": run.run,
        "at": run.at,
        "mechanism": run.mechanism,
        "units": run.count,
        "planned_steps": run.planned,
        "charged_steps": run.charged,
        "epsilon": _finite(publish_epsilon(_epsilon(run, delta=delta))),
        "state": "settled" if run.settled else _liveness(run.run),
        "released": list(run.released),
        "audit_of": run.file,
        "study": run.study,
    }


def _epsilon(run: Spending, *, delta: float) -> float:
    if run.parameters is None:
        return epsilon_of(run.curve, delta=delta)
    return compose(run.parameters, delta=delta)


def _liveness(run: str) -> str:
    """Whether a run that was not settled is going on; it counts in full either way."""
    if (lock := try_lock(run)) is None:
        return "going on"
    unlock(lock, run)
    return "stopped"


def _cap(cap: Cap, books: Books) -> dict[str, Any]:
    patients = None if cap.units is None else len(books.sets.load(cap.units))
    return {"epsilon": cap.epsilon, "delta": cap.delta, "patients": patients}


def _finite(epsilon: float) -> float | None:
    return None if math.isinf(epsilon) else epsilon
