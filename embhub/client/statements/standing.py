"""What a registry says of a release when it is asked: whether it was taken back, and who else audited its bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from embhub.client.statements import memory, reports
from embhub.errors import RegistryError
from embhub.formats.plain_text import plain
from embhub.refusals import Finding
from embhub.release import policy as policies
from embhub.release.checks import attested
from embhub.release.verification import Verified

if TYPE_CHECKING:
    from embhub.client.wire.hub import Hub
    from embhub.release.checks.attested import Attested
    from embhub.release.checks.yanks import Yank
    from embhub.trust.keyring import Trust


def ask(hub: Hub, verified: Verified, commit: str, trusts: list[Trust]) -> tuple[Verified, bool]:
    """The release with what its registry says of it: was it taken back, who else audited these bytes.

    A host that is no embhub registry says nothing. Also whether there is a list of what was taken back.
    """
    from embhub.release.checks import yanks

    unanswered, remarks, repository = set(), [], verified.repository
    yanked: Yank | None = None
    listed = False
    try:
        if (said := hub.status(repository)) is not None:
            yanked = next((yank for yank in yanks.parse(said, repository=repository) if yank.revision == commit), None)
            listed = True
    except (RegistryError, ValueError) as error:
        unanswered.add(policies.YANKS)
        remarks.append(_unheard(hub, yanks.CHECK, "this release is yanked", error))
    others: tuple[Attested, ...] = ()
    try:
        if (said := hub.audits(verified.digest)) is not None:
            checked = {item.envelope: item.audit for item in verified.audit_files if not item.left_out}
            others, refused = attested.parse(
                said, digest=verified.digest, trusts=trusts, numbers=verified.embedding.numbers, checked=checked
            )
            remarks += [Finding(attested.CHECK, "warning", text) for text in attested.nearly(said)]
            if refused:
                text = f"{hub.registry} showed audits of these bytes that do not verify: {refused}, left out"
                remarks.append(Finding(attested.CHECK, "warning", text))
    except (RegistryError, ValueError) as error:
        unanswered.add(policies.AUDITS)
        remarks.append(_unheard(hub, attested.CHECK, "others audited these bytes", error))
    told = verified.told(
        yanked=yanked, others=others, remembered=reports.audits(verified.digest), unanswered=unanswered
    )
    first = [yanked.as_finding(hub.registry)] if yanked else []
    return memory.say_claim(replace(told, findings=(*first, *told.findings, *remarks))), listed


def _unheard(hub: Hub, check: str, what: str, error: RegistryError | ValueError) -> Finding:
    if isinstance(error, RegistryError):
        return Finding(check, "note", f"not known whether {what}: {error.message}")
    text = f"{hub.registry} returned an invalid answer when asked whether {what}; ignored"
    return Finding(check, "warning", f"{text}: {plain(error)}")
