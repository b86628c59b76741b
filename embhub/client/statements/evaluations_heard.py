"""What a registry shows of evaluations by those who pulled: notes beside a release, which decide nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from embhub.errors import RegistryError
from embhub.formats.plain_text import plain
from embhub.refusals import Finding
from embhub.release.checks import evaluated

if TYPE_CHECKING:
    from embhub.client.wire.hub import Hub
    from embhub.release.verification import Verified
    from embhub.trust.keyring import Trust


def fetch(hub: Hub, digest: str) -> bytes | None:
    """What a registry shows of an embedding, unverified; None where it keeps no such list.

    Raises:
        RegistryError: it does not answer.
    """
    return hub.question(f"evaluations/{digest}", what=f"evaluations of {digest[:12]}", limit=evaluated.MAX_BYTES)


def ask(hub: Hub, verified: Verified, trusts: Sequence[Trust]) -> Verified:
    """The release with what others found of its bytes, each a note, whatever it says.

    A registry that does not answer, or answers nonsense, changes nothing but the findings.
    """
    try:
        if (said := fetch(hub, verified.digest)) is None:
            return verified
        found, removed, refused = evaluated.parse(said, digest=verified.digest, trusts=trusts)
    except RegistryError as error:
        text = f"not known whether others evaluated these bytes: {error.message}"
        return replace(verified, findings=(*verified.findings, Finding(evaluated.CHECK, "note", text)))
    except ValueError as error:
        text = f"{hub.registry} returned an invalid answer when asked for evaluations; ignored: {plain(error)}"
        return replace(verified, findings=(*verified.findings, Finding(evaluated.CHECK, "warning", text)))
    findings = (*verified.findings, *evaluated.say(found, removed, refused))
    return replace(verified, findings=findings, evaluations=found)
