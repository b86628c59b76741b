"""Which audits of a file were registered in a log, and whether each has its result: decided from the log's entries.

Every notice of a file is found by its digest, which follows from the file alone. The entry after a notice is its
design: so one notice cannot stand for two designs, and a design that a registry does not show is missed. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from embhub.log import leaves
from embhub.log.errors import MalformedLogError
from embhub.refusals import BadSignatureError, Finding, ReleaseRefusedError
from embhub.release.checks import signers
from embhub.release.checks.preregistered import CHECK, LEAKS
from embhub.trust import audit_designs, bundle, kinds, p256
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import KnownKey, Trust

RESULTS = "audit-result"
LEAK = "leak-detected"


@dataclass(frozen=True)
class Shown:
    """A design that somebody showed, with its result if there is one. Nothing is trusted yet."""

    design: Bundle
    result: Bundle | None


@dataclass(frozen=True)
class Registered:
    """An audit whose notice is in the log at `notice`. `result` is its index, or None; `why` says what is missing."""

    number: int
    namespace: str
    notice: int
    design: str = ""
    result: int | None = None
    verdict: str = ""
    why: str = ""


@dataclass(frozen=True)
class _Notice:
    """A notice at `index` of the log, the key that signed it, and the digest in the entry after it."""

    index: int
    number: int
    key: KnownKey
    after: str = ""


def parse_answer(data: bytes, *, digest: str) -> tuple[Shown, ...]:
    """A registry's answer to which designs it holds for an embedding.

    Raises:
        ValueError: not such an answer, or one about other bytes. ReleaseRefusedError: a bundle is malformed.
    """
    return tuple(_shown(row) for row in bundle.rows(data, kinds.DESIGN, digest=digest))


def find(
    entries: Iterable[bytes], *, digest: str, keyring: Trust, publisher: str, shown: Iterable[Shown]
) -> tuple[Registered, ...]:
    """Every registered audit of the embedding with this SHA-256 by its publisher and by auditors, in the log's order.

    Args:
        entries: the whole log, from its first entry on, checked against its checkpoint. They are read once, in order.
        digest: the embedding's, in hex.
        keyring: whose notices count.
        publisher: namespace of the release.
        shown: designs with their results, from whoever has them.
    """
    read = ((leaves.digest_in(entry), partial(bytes, entry)) for entry in entries)
    return find_among(read, digest=digest, keyring=keyring, publisher=publisher, shown=shown)


def find_among(
    entries: Iterable[tuple[bytes, Callable[[], bytes]]], *, digest: str, keyring: Trust, publisher: str,
    shown: Iterable[Shown],
) -> tuple[Registered, ...]:  # fmt: skip
    """As `find`, of entries each by the digest in it; the entry itself is asked for where that is one of the file's."""
    known = {one.design.envelope.identity: one for one in sorted(shown, key=lambda one: one.result is not None)}
    looked_for = audit_designs.notices(digest)
    wanted = {one.result.envelope.identity for one in known.values() if one.result is not None}
    notices: list[_Notice] = []
    places: dict[str, int] = {}  # of results, by their identity
    for index, (signed, entry) in enumerate(entries):
        identity = signed.hex()
        if notices and notices[-1].index == index - 1:
            notices[-1] = replace(notices[-1], after=identity)
        if identity in wanted:
            places.setdefault(identity, index)
        number = looked_for.get(identity)
        key = None if number is None else _signer(entry(), keyring, digest, number)
        if number is not None and key is not None and kinds.NOTICE.role_of(key.roles, own=key.namespace == publisher):
            notices.append(_Notice(index, number, key))
    found = []
    for one in notices:
        row = Registered(one.number, one.key.namespace, one.index, one.after)
        found.append(_complete(row, known.get(one.after), places, digest=digest, key=one.key, keyring=keyring))
    return tuple(found)


def leaks(shown: Iterable[Shown], *, digest: str, keyring: Trust, publisher: str) -> list[Finding]:
    """What speaks against an embedding by itself: signed results by its publisher, or an auditor, that found a leak.

    No log is needed: nobody else could have signed them.
    """
    found = []
    for one in shown:
        if one.result is None:
            continue
        try:
            _, key, _ = signers.find(one.result, kinds.RESULT, trusts=(keyring,), registry=None, of=publisher)
            stated = audit_designs.read_result(one.result.statement)
        except ReleaseRefusedError:
            continue
        if one.result.statement.digest == digest and stated.verdict == LEAK:
            text = f"a registered audit of these bytes by {key.namespace}: {LEAK}, by its signed result"
            found.append(Finding(LEAKS, "warning", text))
    return list(dict.fromkeys(found))


def judge(
    found: Sequence[Registered], *, design: str, publisher: str, report: int, vouched: int | None = None
) -> list[Finding]:
    """What the registered audits of a file come to, for the release whose design has this identity.

    A result is its signer's word: the report that it names is compared for the release's own audit alone.

    Args:
        found: as `find` gives them.
        design: the identity.
        publisher: the release's namespace. Its dropped audits count against it, and those of who signed the design;
            another auditor's are named, so that no auditor can hold up a release.
        report: number of the audit by the report itself, 0 where it does not say.
        vouched: entries of the log that witnesses vouch for; None for all of them.
    """
    found = [_cosigned(one, vouched) for one in found]
    same = [one for one in found if one.design == design]
    own = next((one for one in same if one.result is not None), same[0] if same else None)
    if own is None:
        return [Finding(CHECK, "warning", "the audit's design has no notice before it in the log")]
    if own.result is None:
        return [Finding(CHECK, "warning", f"design logged at {own.notice + 1:,}, and {own.why}")]
    others = [one for one in found if one.design != design]
    said = f"design logged at {own.notice + 1:,}, result at {own.result:,}"
    earlier = [one for one in others if one.result is None and one.notice < own.result]
    dropped = [one for one in earlier if one.namespace in (publisher, own.namespace)]
    if dropped:
        listed = "; ".join(_dropped(one) for one in dropped[:5])
        return [Finding(CHECK, "warning", f"{said}; {len(dropped)} registered before it and dropped: {listed}")]
    findings = [Finding(CHECK, "ok", f"{said}, nothing dropped between{_unregistered(found, own, report)}")]
    for one in others:
        if one in earlier:
            findings.append(Finding(RESULTS, "warning", f"registered and without a result: {_dropped(one)}"))
        elif one.result is None:
            findings.append(Finding(RESULTS, "note", f"registered after it, without a result yet: {_dropped(one)}"))
        else:
            leak = one.verdict == LEAK
            word = "" if leak else f"; the word of {one.namespace} alone, whose report was not seen"
            text = (
                f"audit {one.number} of these bytes by {one.namespace}: {one.verdict} (result at {one.result:,}{word})"
            )
            findings.append(Finding(LEAKS if leak else RESULTS, "warning" if leak else "note", text))
    return findings


def _cosigned(one: Registered, vouched: int | None) -> Registered:
    """The row without a result that no witness saw; a leak counts by its signature."""
    if vouched is None or one.result is None or one.result < vouched or one.verdict == LEAK:
        return one
    why = f"its result is at {one.result:,}, past the {vouched:,} entries that are cosigned"
    return replace(one, result=None, verdict="", why=why)


def _unregistered(found: Sequence[Registered], own: Registered, report: int) -> str:
    """A ledger numbers every audit of a file; those that were not registered are the site's word alone."""
    numbers = {one.number for one in found if one.namespace == own.namespace}
    missing = sorted(set(range(1, report)) - numbers)
    if not missing:
        return ""
    plural = "s" if len(missing) > 1 else ""
    return f"; before it the site made {len(missing)} audit{plural} of these bytes that it did not register"


def _dropped(one: Registered) -> str:
    return f"audit {one.number} by {one.namespace}, noticed at {one.notice:,}: {one.why}"


def _signer(entry: bytes, keyring: Trust, digest: str, number: int) -> KnownKey | None:
    """The key of the keyring that signed this notice; None for anybody else, and for what is not in its one form."""
    try:
        leaf = leaves.parse(entry)
    except MalformedLogError:
        return None
    key = keyring.lookup(leaf.fingerprint)
    if key is None or not audit_designs.is_low(leaf.signature):
        return None
    try:
        p256.verify(audit_designs.notice_pae(digest, number), signature=leaf.signature, key=key.public_key)
    except BadSignatureError:
        return None
    return key


def _complete(
    row: Registered, shown: Shown | None, places: dict[str, int], *, digest: str, key: KnownKey, keyring: Trust
) -> Registered:
    """The row with its result, or with why there is none."""
    if shown is None:
        return _without(row, "nobody shows its design")
    try:
        audit_designs.check_signature(shown.design, key.public_key)
        design = audit_designs.read_design(shown.design.statement)
        if shown.design.statement.digest != digest or design.number != row.number:
            return _without(row, "its design is of another audit")
        if shown.result is None:
            return _without(row, "it has no result")
        return _ended(row, shown.result, places, keyring=keyring)
    except ReleaseRefusedError as error:
        return _without(row, error.message)


def _ended(row: Registered, result: Bundle, places: dict[str, int], *, keyring: Trust) -> Registered:
    key = keyring.lookup(result.hint)
    if key is None or key.namespace != row.namespace:
        return _without(row, "its result is signed by somebody else")
    audit_designs.check_signature(result, key.public_key)
    stated = audit_designs.read_result(result.statement)
    place = places.get(result.envelope.identity)
    if stated.design.sha256 != row.design:
        return _without(row, "its result is of another design")
    if place is None or place <= row.notice + 1:
        return _without(row, "its result is not in the log after it")
    return Registered(row.number, row.namespace, row.notice, row.design, place, stated.verdict)


def _without(row: Registered, why: str) -> Registered:
    return Registered(row.number, row.namespace, row.notice, row.design, why=why)


def _shown(row: Mapping[str, Any]) -> Shown:
    design = bundle.held_in(row, "design")
    return Shown(design, None if row.get("result") is None else bundle.held_in(row, "result"))
