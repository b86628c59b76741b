"""Reviewing proposed releases: what a registry keeps until approvers of the namespace approve its digest.

Everything is fetched, its digest computed and the release verified here before anything is signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from embhub.client.account import accounts
from embhub.client.publishing.push import AskPassphrase, load_key
from embhub.client.trusted import vouching
from embhub.client.wire.hub import Hub
from embhub.errors import RegistryError, UsageError
from embhub.formats.plain_text import plain
from embhub.release import files as release_files
from embhub.release import verification
from embhub.release.checks import approvals
from embhub.release.files import Release
from embhub.release.verification import Verified
from embhub.trust import bundle, statement
from embhub.trust.origin import origin_of

PATH = "/embhub/v1/review"
_LARGEST = 2_000_000
_ATTRIBUTES = ".gitattributes"  # a file of git's that no release holds


@dataclass(frozen=True)
class Draft:
    """A proposal whose files are here and belong to its digest. `verified` is None where it brings no embedding."""

    hub: Hub
    facts: Mapping[str, Any]
    files: Mapping[str, bytes]
    verified: Verified | None

    @property
    def digest(self) -> str:
        """The digest of all files, as it was computed here."""
        return approvals.digest_of({path: release_files.digest(data) for path, data in self.files.items()})


def list_proposals(registry: str | None = None) -> list[dict[str, Any]]:
    """The proposals that this account may see, open ones first.

    Raises:
        RegistryError: the registry refuses or cannot be reached.
    """
    said = accounts.connect(registry).call(PATH, what="proposed releases")
    rows = said.get("proposals") if isinstance(said, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RegistryError("the registry's answer is no list of proposals", "ask its operator which version it runs")
    return rows


def fetch(proposal: str, *, registry: str | None = None) -> Draft:
    """A proposal with its files, each compared with its digest, and verified as a release.

    Raises:
        VerificationError: it does not verify, and should not be approved.
        RegistryError: the registry refuses, or what it sent does not fit.
    """
    _check(proposal)
    hub = accounts.connect(registry)
    facts = hub.call(f"{PATH}/{proposal}", what=proposal[:12])
    try:
        named = {str(path): str(row["sha256"]) for path, row in facts["files"].items()}
        repository, version, state, stated = (facts[name] for name in ("repository", "version", "state", "digest"))
    except (KeyError, TypeError, AttributeError) as error:
        raise RegistryError("the registry's answer is no proposal", "ask its operator which version it runs") from error
    if state != "open":
        raise UsageError(f"this proposal is {plain(str(state))}", "`embhub curate review list` shows those that wait")
    brings_release = bool(version) or release_files.EMBEDDING in named  # whatever the registry calls it
    files = {}
    for path, digest in named.items():
        limit = release_files.limit_of(path) or (_LARGEST if path == _ATTRIBUTES else 0)
        files[path] = hub.read(f"{PATH}/{proposal}/files/{quote(path)}", what=path, limit=limit)
        if release_files.digest(files[path]) != digest:
            raise RegistryError(f"{path} is not the file that the registry named", "try again; then ask its operator")
    draft = Draft(hub, facts, files, _verify(hub, files, str(repository)) if brings_release else None)
    if draft.digest != stated:
        raise RegistryError("the files do not have the digest that the registry names", "ask its operator")
    return draft


def approve(
    draft: Draft, *, key: str | None = None, signed: bool = True, ask_passphrase: AskPassphrase | None = None
) -> dict[str, Any]:
    """Approve what was fetched; returns how many approvals there are, how many it takes, and the commit if it is out.

    Args:
        key: Name of the approver's key. By default the setting `key`.
        signed: Whether to sign with it. Otherwise the registry attests the approval.

    Raises:
        UsageError: there is no release to sign an approval of.
        ConfigError: there is no such key.
        RegistryError: the registry refuses.
    """
    if signed and draft.verified is None:
        raise UsageError("this change brings no release, so that no key can sign its approval", "pass --without-key")
    seen = {"digest": draft.digest, "not_before": draft.facts.get("not_before")}
    send: dict[str, Any] = {"answer": "approve", **seen}
    if signed:
        send["attestation"] = _attest(draft, key, ask_passphrase)
    return dict(draft.hub.call(_address(draft), what=str(draft.facts["repository"]), method="POST", send=send))


def decline(proposal: str, *, reason: str, registry: str | None = None) -> dict[str, Any]:
    """Decline a proposal with a reason, or withdraw one's own.

    Raises:
        RegistryError: the registry refuses.
    """
    _check(proposal)
    send = {"answer": "decline", "reason": reason}
    hub = accounts.connect(registry)
    return dict(hub.call(f"{PATH}/{proposal}", what=proposal[:12], method="POST", send=send))


def move_embargo(proposal: str, *, until: str, registry: str | None = None) -> dict[str, Any]:
    """Let the embargo of one's own proposal end at another time. Returns when it ends, and how many approvals count.

    Args:
        until: A moment ahead such as `2027-01-31T08:00:00Z`, or `now`. If it is earlier, approvals are dropped.

    Raises:
        RegistryError: the registry refuses.
    """
    _check(proposal)
    send = {"answer": "embargo", "until": until}
    hub = accounts.connect(registry)
    return dict(hub.call(f"{PATH}/{proposal}", what=proposal[:12], method="POST", send=send))


def make_link(proposal: str, *, purpose: str, days: int, registry: str | None = None) -> dict[str, Any]:
    """A link by which somebody without an account reads a proposal. Returns it once, with its id and its end.

    Args:
        purpose: Whom it is for. It names no patient.
        days: Days until it ends.

    Raises:
        RegistryError: the registry refuses, such as an access token that is no new proof.
    """
    _check(proposal)
    hub = accounts.connect(registry)
    send = {"purpose": purpose, "days": days}
    return dict(hub.call(f"{PATH}/{proposal}/links", what=proposal[:12], method="POST", send=send))


def list_links(proposal: str, *, registry: str | None = None) -> list[dict[str, Any]]:
    """The links of a proposal that have not ended, without what opens them.

    Raises:
        RegistryError: the registry refuses.
    """
    _check(proposal)
    said = accounts.connect(registry).call(f"{PATH}/{proposal}/links", what=proposal[:12])
    rows = said.get("links") if isinstance(said, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RegistryError("the registry's answer is no list of links", "ask its operator which version it runs")
    return rows


def end_link(proposal: str, link: str, *, registry: str | None = None) -> dict[str, Any]:
    """End a link.

    Raises:
        RegistryError: the registry refuses, or there is none.
    """
    _check(proposal)
    hub = accounts.connect(registry)
    return dict(hub.call(f"{PATH}/{proposal}/links/{quote(link, safe='')}", what=link[:40], method="DELETE"))


def _attest(draft: Draft, key: str | None, ask: AskPassphrase | None) -> dict[str, Any]:
    verified = draft.verified
    assert verified is not None  # noqa: S101  # the caller asked
    user, signer = draft.hub.whoami().name, load_key(key, ask)
    stated = approvals.build(
        {path: release_files.digest(data) for path, data in draft.files.items()},
        registry=origin_of(verified.signer.registry), repository=verified.repository, version=verified.version,
        kind="signed", approver=approvals.pseudonym(str(draft.facts["id"]), user), created=datetime.now(UTC),
    )  # fmt: skip
    document: dict[str, Any] = json.loads(bundle.to_json(statement.sign(stated, key=signer)))
    return document


def _verify(hub: Hub, files: Mapping[str, bytes], repository: str) -> Verified:
    release = Release.from_files({path: data for path, data in files.items() if release_files.limit_of(path)})
    trusts, _ = vouching.trusted_by(hub.registry)
    return verification.verify(release, trust=trusts, now=datetime.now(UTC), repository=repository)


def _address(draft: Draft) -> str:
    return f"{PATH}/{draft.facts['id']}"


def _check(proposal: str) -> None:
    if len(proposal) != 40 or not set(proposal) <= set("0123456789abcdef"):
        raise UsageError(f"{proposal[:60]!a} is no proposal", "`embhub curate review list` shows the ids, of 40 digits")
