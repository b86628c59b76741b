"""The record of a study: who proposed it, which sites joined with which key, and who consented to which file. Pure.

A release that claims a study's privacy holds the record as `study.json`, and anybody checks it with the keyring alone:
`{"schema", "proposal": bundle, "joins": {site: bundle}, "consents": {site: signature}}`. A registry keeps the same
bundles while the study runs, and withdrawals besides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import rfc8785
from pydantic import ConfigDict

from embhub.formats import instants, names, strict_json
from embhub.privacy.claim import PrivacyClaim
from embhub.refusals import BadSignatureError, Finding, WrongKeyError, WrongStudyError
from embhub.release import file_names
from embhub.release.checks import consistency, signers
from embhub.study import claims, consents
from embhub.study.plan import Study, StudyError, read_study
from embhub.study.wire import Site
from embhub.trust import bundle, dsse, kinds, p256, statement
from embhub.trust.statement import Origin, Predicate, Statement

if TYPE_CHECKING:
    from embhub.artifact.embedding import Embedding
    from embhub.privacy.claim import Claim
    from embhub.release.files import Release
    from embhub.trust.bundle import Bundle
    from embhub.trust.keyring import Trust
    from embhub.trust.kinds import Kind

CHECK = "study"
SUBJECT = "study"
SCHEMA: Final = "embhub.study-record/1"
_HINT = "do not use this release; ask its publisher for the record of the study"


class _Exact(Predicate):
    """Unknown members are refused: a statement of a study says what these rules speak of, and no more."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    registry: Origin
    created: instants.Instant


class _Proposed(_Exact):
    study: dict[str, Any]


class _Joined(_Exact):
    site: Site
    key: str


class _Withdrawn(_Exact):
    site: Site


@dataclass(frozen=True)
class Said:
    """Who signed a statement of a study, when by their own word, and for which registry, an origin.

    `study` is the study's digest, `site` the namespace that speaks, and `fingerprint` its registered key, for which the
    keyring of `vouched_by` vouches, a registry's address.
    """

    study: str
    site: str
    registry: str
    created: str
    fingerprint: str
    vouched_by: str


@dataclass(frozen=True)
class Proposal(Said):
    """A study as it was proposed."""

    plan: Study


@dataclass(frozen=True)
class Join(Said):
    """A site's word that it takes part; `key` is what it signs this study's messages and its consent with."""

    key: p256.PublicKey


@dataclass(frozen=True)
class StudyRecord:
    """A study with those who joined and consented, every registered key's signature checked; consents are not yet.

    Attributes:
        study: what was approved.
        registry: origin of the registry that all of it was signed for.
        keys: of each site that joined, the key of this study.
        consents: of each site that consented, the DER signature, over a file that is not named here.
    """

    study: Study
    registry: str
    keys: Mapping[str, p256.PublicKey]
    consents: Mapping[str, bytes] = field(default_factory=dict)


def propose(study: Study, *, registry: str, created: datetime) -> Statement:
    """The statement by which a namespace proposes a study at `registry`, an origin.

    Raises:
        MalformedStatementError: an origin that no reader would accept.
    """
    return _build(kinds.STUDY, _Proposed, study.digest, registry, created, study=json.loads(study.to_bytes()))


def join(study: str, site: str, key: p256.PublicKey, *, registry: str, created: datetime) -> Statement:
    """The statement by which a site joins the study with this digest, with a key of its own for it. As `propose`."""
    return _build(kinds.STUDY_JOIN, _Joined, study, registry, created, site=site, key=p256.public_pem(key))


def withdraw(study: str, site: str, *, registry: str, created: datetime) -> Statement:
    """The statement by which a site, or the coordinator, ends a study before its release. As `propose`."""
    return _build(kinds.STUDY_WITHDRAWAL, _Withdrawn, study, registry, created, site=site)


def _build(
    kind: Kind, model: type[_Exact], digest: str, registry: str, created: datetime, **more: Any
) -> Statement:  # fmt: skip
    facts = {"registry": registry, "created": instants.write(created), **more}
    return statement.build(kind, model, digest, facts, name=SUBJECT)


def read_proposal(signed: Bundle, *, trusts: Sequence[Trust]) -> Proposal:
    """A proposal by a publishing key of the namespace that the release goes to.

    Raises:
        ReleaseRefusedError: malformed, not the study that it names, or by a key that may not sign it.
    """
    digest, facts = statement.read_exactly(signed.envelope.payload, kinds.STUDY, _Proposed, name=SUBJECT)
    coordinator = names.namespace_of(str(facts.study.get("repository")))
    said = _said(signed, kinds.STUDY, facts, digest, coordinator, trusts)
    plan = _plan(facts)  # once a member signed it: accountants take a moment
    if plan.digest != digest:
        raise WrongStudyError("the proposal is of another study than the one that it holds", _HINT)
    return Proposal(**vars(said), plan=plan)


def _plan(facts: _Proposed) -> Study:
    try:
        return read_study(rfc8785.dumps(facts.study))
    except StudyError as error:
        raise WrongStudyError(error.message, _HINT) from error


def read_join(signed: Bundle, *, trusts: Sequence[Trust]) -> Join:
    """A site's join by a key of its own approvers.

    Raises:
        ReleaseRefusedError: malformed, a key that is none, or by a key that may not sign it.
    """
    digest, facts = statement.read_exactly(signed.envelope.payload, kinds.STUDY_JOIN, _Joined, name=SUBJECT)
    key = key_in(signed)
    said = _said(signed, kinds.STUDY_JOIN, facts, digest, facts.site, trusts)
    return Join(**vars(said), key=key)


def key_in(signed: Bundle) -> p256.PublicKey:
    """The key of the study that a join names, whoever signed it.

    Raises:
        ReleaseRefusedError: no join, or a key that is none.
    """
    _, facts = statement.read_exactly(signed.envelope.payload, kinds.STUDY_JOIN, _Joined, name=SUBJECT)
    key = p256.read_public(facts.key)
    if p256.public_pem(key) != facts.key:
        raise WrongKeyError("the key of a join has one spelling", _HINT)
    return key


def read_withdrawal(signed: Bundle, *, trusts: Sequence[Trust]) -> Said:
    """A withdrawal by a key of a site, or of the coordinator, that may approve or publish.

    Raises:
        ReleaseRefusedError: malformed, or by a key that may not sign it.
    """
    kind = kinds.STUDY_WITHDRAWAL
    digest, facts = statement.read_exactly(signed.envelope.payload, kind, _Withdrawn, name=SUBJECT)
    return _said(signed, kind, facts, digest, facts.site, trusts)


def _said(signed: Bundle, kind: Kind, facts: _Exact, digest: str, site: str, trusts: Sequence[Trust]) -> Said:
    trust, key, _ = signers.find(signed, kind, trusts=trusts, registry=facts.registry, of=site)
    signers.check_in_use(kind, key, created=facts.created)
    return Said(digest, site, facts.registry, facts.created, key.fingerprint, trust.registry)


def write_record(proposal: Bundle, joins: Mapping[str, Bundle], signed: Mapping[str, bytes]) -> bytes:
    """The file `study.json`; `joins` and the consents `signed` are by site."""

    def plain(one: Bundle) -> Any:
        return json.loads(bundle.to_json(one.envelope))

    document = {
        "schema": SCHEMA,
        "proposal": plain(proposal),
        "joins": {site: plain(joins[site]) for site in sorted(joins)},
        "consents": {site: dsse.encode(signed[site]) for site in sorted(signed)},
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


def read_record(data: bytes, trusts: Sequence[Trust]) -> StudyRecord:
    """A record, every registered key's signature checked. Whether it is whole, and of a file, `check_release` asks.

    Raises:
        ReleaseRefusedError: malformed, of sites that the study does not name, of statements about different studies or
            for different registries, or by keys that may not sign them.
    """
    first, parsed, given = _open(data)
    proposal = read_proposal(first, trusts=trusts)
    joins = {site: read_join(row, trusts=trusts) for site, row in parsed.items()}
    for site, one in joins.items():
        check_place(one, proposal)
        if one.site != site:
            raise WrongStudyError(f"{one.site} joined in the place of another site", _HINT)
    if given.keys() - joins.keys():
        raise WrongStudyError("somebody consented who did not join the study", _HINT)
    keys = {site: one.key for site, one in joins.items()}
    return StudyRecord(proposal.plan, proposal.registry, keys, given)


def read_plan(data: bytes) -> Study:
    """The study of a record that was admitted before; no signature is checked. As `read_record` of the rest.

    Raises:
        ReleaseRefusedError: not the record of a study.
    """
    first, _, _ = _open(data)
    _, facts = statement.read_exactly(first.envelope.payload, kinds.STUDY, _Proposed, name=SUBJECT)
    return _plan(facts)


def check_place(one: Said, proposal: Proposal) -> None:
    """Whether a join is one of this study.

    Raises:
        WrongStudyError: of another study, another registry, or by a namespace that the study does not name.
    """
    if one.study != proposal.study or one.registry != proposal.registry:
        raise WrongStudyError(f"{one.site} joined another study, or at another registry", _HINT)
    if one.site not in proposal.plan.sites:
        raise WrongStudyError(f"{one.site} is no site of the study", _HINT)


def check_release(record: StudyRecord, embedding: str, claim: Claim, *, repository: str) -> Finding:
    """Whether a release is the outcome of this study: `embedding` is the file's SHA-256, `claim` its privacy claim.

    Raises:
        WrongStudyError: published elsewhere than the study said, another study than the claim's, sites that did not
            join, keys that are not apart, or too few sites that consented to this file.
    """
    study = record.study
    if repository != study.repository:
        raise WrongStudyError(f"published as {repository}, and the study is for {study.repository}", _HINT)
    try:
        claims.check_claim(claim, study)
    except StudyError as error:
        raise WrongStudyError(f"the claim is not that of the study: {error.message}", _HINT) from error
    if absent := sorted(set(study.sites) - record.keys.keys()):
        raise WrongStudyError(f"{', '.join(absent)} did not join the study", _HINT)
    if len({p256.fingerprint(key) for key in record.keys.values()}) < len(study.sites):
        raise WrongStudyError("two sites of the study have one key: one of them could speak for both", _HINT)
    for site, signature in record.consents.items():
        try:
            consents.check(study.digest, site, embedding, signature=signature, key=record.keys[site])
        except BadSignatureError as error:
            raise WrongStudyError(f"{site} did not consent to this file", _HINT) from error
    signed, needed = len(record.consents), study.quorum
    if signed < needed:
        raise WrongStudyError(f"{signed} sites consented to this file, and the study needs {needed}", _HINT)
    text = f"the outcome of study {study.digest[:12]} of {len(study.sites)} sites, of which {signed} signed this file"
    return Finding(CHECK, "ok", text)


def check(
    release: Release, embedding: Embedding, *, repository: str, keyring: Trust
) -> Iterator[Finding]:  # fmt: skip
    """The record of a release, published as `repository`, against its file and claim, by the keyring that vouches for
    its publisher. Nothing where there is neither a record nor a claim of a study.

    Raises:
        ReleaseRefusedError: as `check_there`, `read_record`, `check_release` and `consistency.check_study`.
    """
    check_there(release, embedding.privacy)
    if file_names.STUDY in release.files:
        record = read_record(release.files[file_names.STUDY], [keyring])
        found = check_release(record, embedding.digest, embedding.privacy, repository=repository)
        consistency.check_study(embedding, study=record.study)
        yield found


def check_there(release: Release, claim: Claim) -> None:
    """Whether a record is there exactly where the claim is of a study.

    Raises:
        WrongStudyError: one without the other.
    """
    claimed = isinstance(claim, PrivacyClaim) and claim.study is not None
    if claimed and file_names.STUDY not in release.files:
        raise WrongStudyError(f"the privacy claim names a study, and there is no {file_names.STUDY}", _HINT)
    if not claimed and file_names.STUDY in release.files:
        raise WrongStudyError(f"there is a {file_names.STUDY}, and the privacy claim names no study", _HINT)


def _open(data: bytes) -> tuple[Bundle, dict[str, Bundle], dict[str, bytes]]:
    """A record's proposal, joins by site and consents by site, as they came."""
    try:
        document = strict_json.read_object(data, limit=file_names.LIMITS[file_names.STUDY])
        members = strict_json.exact(document, {"schema", "proposal", "joins", "consents"}, what="the record")
        if members["schema"] != SCHEMA:
            raise strict_json.JsonError(f"schema is not {SCHEMA}")
        rows, signed = members["joins"], members["consents"]
        if not isinstance(rows, dict) or not isinstance(signed, dict):
            raise strict_json.JsonError("joins and consents are by site")
        given = {site: dsse.decode(text) for site, text in signed.items()}
        first, parsed = _bundle(members["proposal"]), {site: _bundle(row) for site, row in rows.items()}
    except strict_json.JsonError as error:
        raise WrongStudyError(f"not the record of a study: {error}", _HINT) from error
    return first, parsed, given


def _bundle(row: object) -> Bundle:
    if not isinstance(row, dict):
        raise strict_json.JsonError("a statement is no bundle")
    return bundle.parse(json.dumps(row).encode())
