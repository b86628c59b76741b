"""Whether a site's privacy ledger goes on from where earlier releases of its namespace showed it. Pure.

A contradiction is a warning: the release is what was signed, and an honest site that lost its ledger gives one too. The
demand `one-ledger` refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping

from embhub.refusals import Finding
from embhub.trust.statement import LedgerHeads

CHECK = "ledger"


def numbered(shown: LedgerHeads) -> dict[int, str]:
    """The heads of a release by their numbers."""
    first = shown.number - len(shown.heads) + 1
    return dict(enumerate(shown.heads, first))


def fault(shown: LedgerHeads) -> bool:
    """Whether the number cannot be that of these heads."""
    return shown.number < len(shown.heads)


def compare(shown: LedgerHeads | None, known: Mapping[str, Mapping[int, str]], *, namespace: str) -> list[Finding]:
    """What the heads of a release say, beside those of the same namespace that were seen before.

    Args:
        known: heads by number, by ledger id.
    """
    if shown is None:
        if known:
            text = f"the release shows no privacy ledger of {namespace}, and earlier ones did"
            return [Finding(CHECK, "warning", text)]
        return []
    if fault(shown):
        return [Finding(CHECK, "warning", f"release {shown.number} of a ledger shows {len(shown.heads)} heads")]
    if known and shown.id not in known:
        text = f"another privacy ledger of {namespace} than earlier releases showed: it may leave trainings out"
        return [Finding(CHECK, "warning", text)]
    before, now = known.get(shown.id, {}), numbered(shown)
    changed = sorted(number for number in before.keys() & now.keys() if before[number] != now[number])
    if changed:
        text = (
            f"an older privacy ledger of {namespace} was put back: release {changed[0]} by it is another one than was"
            " seen here; trainings since then may be left out"
        )
        return [Finding(CHECK, "warning", text)]
    if before and not before.keys() & now.keys():
        text = f"release {shown.number} by the privacy ledger of {namespace}; too far from those seen to compare"
        return [Finding(CHECK, "warning", text)]
    if len(known) > 1 and shown.id != next(iter(known)):
        text = f"{namespace} published by {len(known)} privacy ledgers: each may leave out what another counts"
        return [Finding(CHECK, "warning", text)]
    goes_on = "continues the one seen before" if before else "seen here for the first time"
    return [Finding(CHECK, "ok", f"release {shown.number} by the privacy ledger of {namespace}, {goes_on}")]
