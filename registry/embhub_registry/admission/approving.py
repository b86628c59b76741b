"""Approving a proposed release: one digest, by distinct approvers, never by who proposed it; the last one publishes.

What is published is what was approved, byte for byte, and admission is asked once more: a key may have been revoked
since, or the bytes withdrawn. Each approval goes into the release as an attestation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from embhub.errors import EmbhubError
from embhub.formats import instants
from embhub.refusals import ReleaseRefusedError
from embhub.release import files as release_files
from embhub.release.checks import approvals
from embhub.trust import bundle, statement
from embhub_registry.admission.publication import ATTEMPTS, busy, head_of
from embhub_registry.admission.storing import Change, judge, store_revision
from embhub_registry.database import Connection
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import workloads
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.releases.repositories import Revision
from embhub_registry.database.statements import proposals
from embhub_registry.database.statements.proposals import Approval, Proposal
from embhub_registry.http_errors import RequestDeniedError, forbidden, statement_refusals
from embhub_registry.repositories import access, reviewing
from embhub_registry.repositories.reviewing import Seen
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.logs import log

RETRY = timedelta(minutes=10)
SLACK = timedelta(hours=1)  # between an approver's clock and ours


@dataclass(frozen=True)
class Outcome:
    """What an approval came to. `revision` is the commit that was published; None while something is missing."""

    proposal: Proposal
    approvals: int
    needed: int
    revision: str | None


def approve(
    registry: Registry, account: Account | None, proposal_id: str, *, digest: str, embargo: str,
    signed: bytes | None = None, proved: bool = False,
) -> Outcome:  # fmt: skip
    """Approve the files of a proposal by their digest; publishes it where nothing else is missing.

    Args:
        digest: what the approver saw; a proposal's never changes, and a newer push has another.
        embargo: when the embargo ended that the approver saw, empty where there was none.
        signed: the approver's own attestation (a bundle); without, the registry attests that the account approved.
        proved: whether the person proved within the last minutes who they are. Without a signature it has to be so: a
            token that lies on a disk approves nothing by itself.

    Raises:
        RequestDeniedError: 404, 403 for who is no approver, proposed it, or neither signed nor proved who they are; 409
            for another digest, one that was decided or is based on a commit that is not the newest; 422 for an
            attestation that does not fit, or by admission.
    """
    for _ in range(ATTEMPTS):
        db = registry.database.connection()
        seen = reviewing.see(db, account, proposal_id)
        assert account is not None  # noqa: S101  # `see` refuses nobody
        _check_may(registry, seen, account, digest)
        _check_embargo(seen, embargo)
        _check_proof(seen, signed=signed is not None, proved=proved)
        given = _approval(registry, seen, account, signed)
        outcome = _take(registry, seen, given, by=account.user)
        if outcome is not None:
            return outcome
    raise busy(seen.proposal.namespace, seen.proposal.name)


def publish_due(registry: Registry, held_back: dict[str, str] | None = None) -> int:
    """Publish what waited for nothing but the end of its embargo; returns how many.

    One that cannot be published is looked at again after `RETRY`: `held_back` notes until when, by id.
    """
    held_back, done = {} if held_back is None else held_back, 0
    due = proposals.embargoed(registry.database.connection(), until=stamp())
    for gone in held_back.keys() - {one.id for one in due}:
        del held_back[gone]
    for one in due:
        if held_back.get(one.id, "") > stamp():
            continue
        try:
            done += _publish_due(registry, one)
        except EmbhubError as error:
            held_back[one.id] = stamp(now() + RETRY)
            log("error", "a release whose embargo ended was not published", proposal=one.id, reason=error.message)
    return done


def _publish_due(registry: Registry, found: Proposal) -> bool:
    """Whether it was published. No person looks on, so who proposed it has to be somebody who still may publish."""
    db = registry.database.connection()
    if repositories.find_ref(db, found.repository_id, found.branch) != found.parent:
        with registry.database.writing() as writing:
            ended = reviewing.stale(writing, found.repository_id, by="server")
        reviewing.note_replaced(registry, ended, by="server")
        return False
    seen = reviewing.look_at(db, found)
    if len(_counting(registry, seen)) < seen.needed:
        return False
    if not reviewing.author_may(db, found):
        raise forbidden(f"{found.author} may not publish here any more", "an approver may approve it, or decline it")
    return _take(registry, seen, None, by="server") is not None


def with_good_keys(registry: Registry, seen: Seen) -> Seen:
    """The same with the approvals that count: an open one's that is signed by a key revoked since does not."""
    if seen.proposal.state != "open":
        return seen
    return replace(seen, approvals=tuple(_counting(registry, seen)))


def _counting(registry: Registry, seen: Seen) -> list[Approval]:
    """The approvals that count: one that would not verify, because its key was revoked or replaced since, does not.

    What the registry attested is checked by the key that its keyring names now, and by no earlier one.
    """
    named = (registry.trust().keyring.online or {}).get("advisories")

    def counts(given: Approval) -> bool:
        if given.bundle is None:
            return not seen.signed
        if given.kind != "signed":
            return not seen.signed and named is not None and named.fingerprint == given.fingerprint
        signed = bundle.parse(given.bundle)
        dated, namespace = approvals.read_facts(signed.statement).created, seen.proposal.namespace
        try:
            approvals.approver_key(signed, registry.trust(), namespace=namespace, created=dated)
        except ReleaseRefusedError:
            return False
        return True

    return [given for given in seen.approvals if counts(given)]


def _check_embargo(seen: Seen, embargo: str) -> None:
    """Compare the end of the embargo that an approver saw with what holds: an earlier end is another decision."""
    if embargo != (seen.proposal.not_before or ""):
        raise RequestDeniedError(
            409, "embargo", "the embargo of this proposal was changed", "look at it again, then approve it"
        )


def _check_proof(seen: Seen, *, signed: bool, proved: bool) -> None:
    """Ask more than a token for an approval: the approver's key, or a proof of identity that is new."""
    if signed:
        return
    if seen.signed:
        raise forbidden(
            f"approvals of {seen.proposal.full_name} have to be signed by the approver's own key",
            f"`embhub curate review approve {seen.proposal.id} --key NAME`", rule="signature",
        )  # fmt: skip
    if not proved:
        raise forbidden(
            "an access token alone approves nothing: this takes a new proof of who you are, or a signature",
            "sign with your key, approve in the registry's page, or get a new token first:"
            " `embhub login --device --scope publish`", rule="proof",
        )  # fmt: skip


def _check_may(registry: Registry, seen: Seen, account: Account, digest: str) -> None:
    found = seen.proposal
    reviewing.require_reviewer(account, found.namespace)
    if found.author_id == account.user_id:
        raise forbidden(f"{account.user} proposed this release and may not approve it", "ask another approver")
    if workloads.registered_by(registry.database.connection(), found.author_id) == account.user:
        raise forbidden(f"{account.user} registered the workload that proposed this release", "ask another approver")
    reviewing.require_open(found)
    if digest != found.digest:
        raise RequestDeniedError(
            409, "digest", "this is not the digest of the proposal", "look at it again: what you saw is something else"
        )
    if any(one.user_id == account.user_id for one in _counting(registry, seen)):
        raise RequestDeniedError(409, "approved", f"{account.user} approved this already", "it takes another approver")


def _take(registry: Registry, seen: Seen, given: Approval | None, *, by: str) -> Outcome | None:
    """Note an approval, and publish where it is the last; None where somebody was faster."""
    found, everyone = seen.proposal, _with(registry, seen, given)
    waits = found.not_before is not None and found.not_before > stamp()
    if len(everyone) >= seen.needed and not waits:
        return _publish(registry, seen, given, by=by)
    if given is not None:
        with registry.database.writing() as db:
            if not _as_seen(db, seen, given):
                return None
            proposals.approve(db, found.id, given)
        _note(registry, found, given, by)
    return Outcome(found, len(everyone), seen.needed, None)


def _publish(registry: Registry, seen: Seen, given: Approval | None, *, by: str) -> Outcome | None:
    found, everyone = seen.proposal, _with(registry, seen, given)
    judged = judge(registry, _change(registry, seen, everyone))
    ended: list[Proposal] = []

    def first(db: Connection) -> bool:  # a key of an approver may have been revoked before admission looked
        counting = _counting(registry, replace(seen, approvals=tuple(everyone)))
        return _as_seen(db, seen, given) and counting == everyone

    def then(db: Connection, revision: Revision) -> None:
        if given is not None:
            proposals.approve(db, found.id, given)
        reviewing.end(db, found, state="published", by=by, revision_id=revision.id)
        ended.extend(reviewing.stale(db, found.repository_id, by=by))

    revision = store_revision(registry, judged, first=first, then=then)
    if revision is None:
        return None
    if given is not None:
        _note(registry, found, given, by)
    reviewing.note(registry, "release-published", found, commit=revision.id, approvals=len(everyone))
    reviewing.note_replaced(registry, ended, by=found.id)
    return Outcome(found, len(everyone), seen.needed, revision.id)


def _note(registry: Registry, found: Proposal, given: Approval, by: str) -> None:
    reviewing.note(
        registry, "release-approved", found, user=by, kind=given.kind, fingerprint=given.fingerprint or None
    )  # fmt: skip


def _with(registry: Registry, seen: Seen, given: Approval | None) -> list[Approval]:
    return [*_counting(registry, seen), *([given] if given else [])]


def _as_seen(db: Connection, seen: Seen, given: Approval | None) -> bool:
    """Whether nothing was decided, approved or demanded since it was looked at.

    Raises:
        RequestDeniedError: 403 where who gives this approval lost the role meanwhile.
    """
    if given is not None and not reviewing.still_may(db, given, seen.proposal.namespace):
        raise forbidden(
            f"{given.approver} is no approver of {seen.proposal.namespace} any more", "ask another approver"
        )
    found = proposals.find(db, seen.proposal.id)
    if found != seen.proposal or (reviewing.needed_for(db, found), reviewing.must_sign(db, found)) != (
        seen.needed, seen.signed,
    ):  # fmt: skip
        return False
    return reviewing.look_at(db, found).approvals == seen.approvals


def _change(registry: Registry, seen: Seen, everyone: list[Approval]) -> Change:
    """The commit that a proposal becomes: its files, and the approvals beside them."""
    found, db = seen.proposal, registry.database.connection()
    repository = repositories.find_by_id(db, found.repository_id)
    if repository is None:
        raise reviewing.unknown(found.id)
    head = head_of(registry, repository, found.branch).revision
    if head.id != found.parent:
        raise RequestDeniedError(
            409, "parent", f"{found.full_name} has another newest commit than when this was proposed",
            "its publisher has to push it again",
        )  # fmt: skip
    if repository.disabled:
        access.require_files(db, repository, None)
    held = {entry.path: entry for entry in seen.files}
    present = {entry.path: entry for entry in repositories.entries(db, repository.id, head.id)}
    kept = {path for path, entry in held.items() if path in present and present[path].digest == entry.digest}
    added = {path: registry.blobs.get(entry.digest) for path, entry in held.items() if path not in kept}
    number = sum(map(release_files.is_approval, held))
    for given in everyone:
        if given.bundle is not None:
            number += 1
            added[release_files.approval_bundle(number)] = given.bundle
    return Change(
        repository=repository, branch=found.branch, head=head, present=present, kept=frozenset(kept), added=added,
        title=found.title, message=found.message, author=found.author, caller=found.caller,
        admin=found.admin and reviewing.is_admin(db, found.author),
    )  # fmt: skip


def _approval(registry: Registry, seen: Seen, account: Account, signed: bytes | None) -> Approval:
    found = seen.proposal
    if signed is not None:
        fingerprint = _check_signed(registry, seen, account, signed)
        return Approval(account.user_id, account.user, found.digest, stamp(), "signed", fingerprint, signed)
    key = registry.online_key("advisories")
    if key is None or found.version is None:
        return Approval(account.user_id, account.user, found.digest, stamp(), "registry", "", None)
    stated = approvals.build(
        {entry.path: entry.digest for entry in seen.files}, registry=registry.trust().origin,
        repository=found.full_name, version=found.version, kind="registry",
        approver=approvals.pseudonym(found.id, account.user), created=now(),
    )  # fmt: skip
    data = bundle.to_json(statement.sign(stated, key=key))
    return Approval(account.user_id, account.user, found.digest, stamp(), "registry", key.fingerprint, data)


def _check_signed(registry: Registry, seen: Seen, account: Account, data: bytes) -> str:
    """The fingerprint of the approver's key, where the attestation is of exactly this proposal.

    Raises:
        RequestDeniedError: 422 what does not fit.
    """
    found, trusted = seen.proposal, registry.trust()
    if found.version is None:
        raise RequestDeniedError(422, "approval", "this proposal is no release", "approve it without a signature")
    with statement_refusals():
        given = bundle.parse(data)
        facts = approvals.read_facts(given.statement)
        approvals.approver_key(given, trusted, namespace=found.namespace)
    held = {entry.path: entry.digest for entry in seen.files}
    expected = (trusted.origin, found.full_name, found.version, found.digest, "signed", approvals.covered(held))
    stated = (facts.registry, facts.repository, facts.version, facts.release.sha256, facts.kind, dict(facts.files))
    if stated != expected or facts.approver != approvals.pseudonym(found.id, account.user):
        raise RequestDeniedError(
            422,
            "approval",
            "the attestation is not about this proposal",
            "approve it with `embhub curate review approve`",
        )
    if not found.created < stamp(instants.read(facts.created) + SLACK) < stamp(now() + 2 * SLACK):
        raise RequestDeniedError(
            422, "approval", f"the attestation is dated {facts.created}", "set your machine's clock, then approve it"
        )
    publisher = release_files.PUBLISH_BUNDLE
    if publisher in held and bundle.parse(registry.blobs.get(held[publisher])).hint == given.hint:
        raise forbidden("the key that signed the release may not approve it", "sign with the approver's own key")
    if any(one.fingerprint == given.hint for one in seen.approvals):
        raise RequestDeniedError(409, "approved", "another approval is signed by this key", "sign with your own key")
    return given.hint
