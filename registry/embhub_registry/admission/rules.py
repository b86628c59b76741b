"""What may be published: rules over a whole file set, each with a name and a remedy. Pure: no file, socket or clock.

The table in docs/reference/admission-rules.md is `table()`; a test keeps the two alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from embhub.audits.report import recompute
from embhub.errors import EmbhubError
from embhub.formats import plain_png
from embhub.privacy.claim import Claim, PrivacyClaim, UnsupportedClaimError
from embhub.privacy.wording import figures_of
from embhub.refusals import ReleaseRefusedError
from embhub.release.checks import claims
from embhub.release.checks.samples import check_samples
from embhub.release.files import AUDIT, CARD, EMBEDDING, LIMITS, MOST_ATTESTATIONS, too_many
from embhub.release.verification import Verified
from embhub.trust import bundle
from embhub_registry.admission.release_order import (
    check_audit_kept,
    check_keys,
    check_replaces,
    check_study,
    check_version,
    check_weights,
    check_withdrawn,
)
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people import personal_data
from embhub_registry.repositories.proposal import GIT_ATTRIBUTES, MAX_GIT_ATTRIBUTES, Proposal, limit_of

IMPORTED = "embhub import"  # what `training.tool` says of a file that came from elsewhere
_WEIGHTS = re.compile(r"\.(safetensors|bin|pt|pth|ckpt|pkl|pickle|onnx|h5|msgpack|gguf|npz|npy)$", re.IGNORECASE)


@dataclass(frozen=True)
class Admitted:
    """A file set that may be stored; `version` and `verified` only where there are weights."""

    version: str | None
    verified: Verified | None


@dataclass(frozen=True)
class Rule:
    """One rule: `check` returns what is wrong, or None; it may also raise the core's own error."""

    name: str
    says: str
    remedy: str
    check: Callable[[Proposal], str | None]
    weights_only: bool = True


def admit(proposal: Proposal) -> Admitted:
    """Judge a file set by every rule in order.

    Raises:
        RequestDeniedError: 422 with the first rule that refuses, what is wrong, and the remedy.
    """
    with_weights = EMBEDDING in proposal.files
    for rule in RULES:
        if rule.weights_only and not with_weights:
            continue
        try:
            problem = rule.check(proposal)
        except RequestDeniedError:
            raise
        except UnsupportedClaimError as error:  # whichever file it was found in
            raise refuse(CLAIM.name, error.message, CLAIM.remedy) from error
        except ReleaseRefusedError as error:
            raise refuse(error.rule, error.message, REMEDIES.get(error.rule, ATTESTATION.remedy)) from error
        except EmbhubError as error:
            raise refuse(rule.name, error.message, error.hint or rule.remedy) from error
        if problem is not None:
            raise refuse(rule.name, problem, rule.remedy)
    verified = proposal.verified if with_weights else None
    return Admitted(version=verified.card.version if verified else None, verified=verified)


def refuse(rule: str, problem: str, remedy: str) -> RequestDeniedError:
    """A refusal in the shape that clients print: the rule's name first."""
    return RequestDeniedError(422, rule, problem, remedy)


def check_announced(path: str, size: int) -> None:
    """Refuse a file by name and size before its bytes travel.

    Raises:
        RequestDeniedError: as `admit` would.
    """
    if problem := _name_problem(path):
        raise refuse(*problem)
    limit = limit_of(path) or 0
    if size > limit:
        raise refuse(SIZE.name, f"{path} has {size:,} bytes, at most {limit:,} are taken", SIZE.remedy)


def remedies() -> list[tuple[str, str]]:
    """Refusals of the attestation that have a remedy of their own."""
    return list(REMEDIES.items())


def table() -> list[tuple[str, str, str, str]]:
    """Rule, when it applies, what it demands, remedy: the rows of the documentation."""
    return [(r.name, "with weights" if r.weights_only else "always", r.says, r.remedy) for r in RULES]


def _name_problem(path: str) -> tuple[str, str, str] | None:
    if limit_of(path) is not None:
        return None
    if _WEIGHTS.search(path):
        return FORMAT.name, f"{path}: weights are taken as {EMBEDDING} alone", FORMAT.remedy
    return FILES.name, f"{path} is not a file of a release", FILES.remedy


def _files(proposal: Proposal) -> str | None:
    for path in sorted(proposal.files):
        if problem := _name_problem(path):
            raise refuse(*problem)
    return too_many(proposal.files)


def _sizes(proposal: Proposal) -> str | None:
    for path, data in sorted(proposal.files.items()):
        limit = limit_of(path) or 0
        if len(data) > limit:
            return f"{path} has {len(data):,} bytes, at most {limit:,} are taken"
    return None


def _persons(proposal: Proposal) -> str | None:
    places = {"the commit's message": proposal.words}
    places |= {path: proposal.files.get(path, b"").decode("utf-8", "replace") for path in (CARD, GIT_ATTRIBUTES)}
    if EMBEDDING in proposal.files:
        del places[CARD]  # its fields are judged one by one, after they have been read
    for place, text in places.items():
        if found := personal_data.find_in_words(text):
            return f"{place} seems to hold personal data: {'; '.join(found[:5])}"
    if kind := personal_data.find_in_name(proposal.repository.partition("/")[2]):
        return f"the repository's name seems to hold personal data: {kind}"
    return None


def _format(proposal: Proposal) -> str | None:
    _ = proposal.release.embedding
    return None


def _card(proposal: Proposal) -> str | None:
    _ = proposal.release.card
    return None


def _card_persons(proposal: Proposal) -> str | None:
    found = personal_data.find_in_release(proposal.release)
    return f"the release seems to hold personal data: {'; '.join(found[:5])}" if found else None


def _base(proposal: Proposal) -> str | None:
    if proposal.release.embedding.training.get("tool") == IMPORTED:
        return None  # nobody can fingerprint a base model that the importer never had; `pull` and the page warn of it
    if proposal.release.embedding.base is None or proposal.release.card.base_model.fingerprint == "unknown":
        return "the embedding does not say which base model it was trained on, by its fingerprint"
    return None


def _privacy(proposal: Proposal) -> str | None:
    card, header = proposal.release.card, proposal.release.embedding.privacy
    if card.privacy != header:
        return f"the card claims privacy {_brief(card.privacy)}, the embedding's header {_brief(header)}"
    if told := claims.told_numbers(card):
        return told[0]
    report = proposal.release.audit
    return claims.exposed(header, report) or claims.refuted(header, report) if report is not None else None


def _brief(claim: Claim) -> str:
    return figures_of(claim) if isinstance(claim, PrivacyClaim) else "none"


def _audit_present(proposal: Proposal) -> str | None:
    missing = proposal.audit_required and AUDIT not in proposal.files
    return f"this registry asks for an audit report and there is no {AUDIT}" if missing else None


def _audit_format(proposal: Proposal) -> str | None:
    _ = proposal.release.audit
    return None


def _audit_figures(proposal: Proposal) -> str | None:
    report = proposal.release.audit
    wrong = recompute(report) if report is not None else []
    return f"the audit report contradicts itself: {'; '.join(wrong[:3])}" if wrong else None


def _samples(proposal: Proposal) -> str | None:
    release = proposal.release
    list(check_samples(release, release.card, digest=release.embedding.digest))
    return None


def _attestation(proposal: Proposal) -> str | None:
    _ = proposal.verified
    return None


FILES = Rule(
    "known-files",
    f"A repository holds {', '.join((*LIMITS, GIT_ATTRIBUTES))}; further attestations of any predicate type, each"
    f" attestations/NAME.sigstore.json (at most {MOST_ATTESTATIONS} in all) and as many attestations/NAME.tlog-proof,"
    " with NAME in lower-case letters, digits, dots, hyphens and underscores; and nothing else.",
    "leave the other files out: `embhub push` sends exactly these",
    _files, weights_only=False,
)  # fmt: skip
SIZE = Rule(
    "file-size",
    "; ".join(f"{path} at most {limit:,} bytes" for path, limit in LIMITS.items())
    + f"; {GIT_ATTRIBUTES} at most {MAX_GIT_ATTRIBUTES:,} bytes; any other attestation at most {bundle.MAX_BYTES:,}.",
    "an embedding has at most 64 rows; check that the right file was given",
    _sizes, weights_only=False,
)  # fmt: skip
WEIGHTS = Rule(
    "weights-missing",
    "Once a version was published the repository holds an embedding; before, it holds no report, samples,"
    " record of a study or attestation.",
    "push a whole release; what was published is for the registry's admin to delete",
    check_weights, weights_only=False,
)  # fmt: skip
PERSONS = Rule(
    "personal-data",
    "No text looks like a person's name, date of birth, record number, address or DICOM identifier: not the commit's"
    " message, the repository's name, .gitattributes, nor a README.md without weights.",
    "take it out of the text (a report names the kind, not the value), sign again, push again",
    _persons, weights_only=False,
)  # fmt: skip
FORMAT = Rule(
    "weights-format",
    "Weights are one well-formed safetensors file: no pickle, gaps or trailing bytes; finite numbers, 1 to 64 rows. Or"
    " a compact adapter: attention layers, or keys and values of cross-attention alone; one rank from 1 to 4, its base"
    " fingerprinted, no privacy claim.",
    "`embhub import FILE` turns other formats into one; `embhub inspect FILE` says what is wrong with it",
    _format,
)  # fmt: skip
CLAIM = Rule(
    "privacy-claim",
    "The card makes the privacy claim of the embedding's header, of version 2. Its RDP curve, both epsilons, sampling"
    " rate and denominator are those that its parameters give, delta is at most 1e-5 and 1/(10 n_public), the card"
    " tells no exact numbers beside it, and the audit shows no larger epsilon.",
    "`embhub card init FILE` copies the claim that `embhub train` wrote and declares the numbers; then sign again",
    _privacy,
)  # fmt: skip
SAMPLES = Rule(
    "samples",
    "samples.png is there exactly where the card records it: the bytes with its digest, drawn by this embedding; a PNG"
    f" of 8-bit grey or RGB, {plain_png.SMALLEST_SIDE} to {plain_png.LARGEST_SIDE} pixels a side, with the"
    " constant mark of synthetic images (XMP, IPTC DigitalSourceType), not a byte besides it and pixels. The card takes"
    " a record only with the copy check's verdict no-copies-found, or, beside a privacy claim, with none.",
    "`embhub copy-check --sheet` draws one, `embhub card init --samples` records it; then sign and push again",
    _samples,
)  # fmt: skip
ATTESTATION = Rule(
    "attestation",
    "The publish attestation verifies with the registry's own keyring: signer, role, namespace, registry, repository,"
    " digests of embedding, card and report. A port that claims privacy holds the publish attestation of its source,"
    " which verifies with the same keyring and makes the same claim. Every other attestation of a known type verifies"
    " likewise. One of an unknown type is"
    " stored and not checked, unless its signed predicate says `critical: true`. The refusal carries the name of the"
    " check that failed.",
    "sign the release as it stands (`embhub sign FILE`), then push again",
    _attestation,
)  # fmt: skip
STUDY = Rule(
    "study",
    "An embedding whose privacy claim is of a study comes with study.json, and any other without. The study was"
    " proposed at this registry in the repository's name, and nobody withdrew from it. Every site of it joined with a"
    " key of its own, and at least as many sites as a step needs signed this very file, which names the"
    " study's base, token, caption and settings.",
    "`embhub study finish` collects what the sites signed; a study that somebody left has to be proposed anew",
    check_study,
)  # fmt: skip
_ACCEPT = "have the registry's admin accept your key: `embhub key export` prints it, `embhub-registry key add` takes it"
_NEW_KEY = "make a new key (`embhub key new NAME`), have it accepted, then `embhub sign FILE --key NAME` and push again"
REMEDIES: Mapping[str, str] = {  # for the publisher; the core's hints are for those who pull
    "unknown-signer": _ACCEPT,
    "wrong-namespace": "sign with a key of the repository's namespace, or push to your own",
    "wrong-role": _ACCEPT + " with the role that the signature needs",
    "revoked-key": _NEW_KEY,
    "wrong-repository": "sign for this repository: `embhub push FILE NAMESPACE/NAME` does",
    "wrong-registry": "sign for this registry: `embhub sign FILE --registry ADDRESS`, with the address of its keyring",
    "audit-missing": "an audit that was signed goes along: push `audit.json` and its attestation, or sign without them",
    SAMPLES.name: SAMPLES.remedy,
    STUDY.name: STUDY.remedy,
    "source-mismatch": "publish the source here, `embhub research port` it again from its signed file, sign, push",
    "audit-mismatch": "`embhub audit FILE` writes the report anew; then sign and push again",
}
RULES: tuple[Rule, ...] = (
    FILES,
    SIZE,
    WEIGHTS,
    PERSONS,
    FORMAT,
    Rule("card", "README.md holds a complete, valid card (embhub.card/1).",
         "complete it with `embhub card init FILE`, then `embhub sign` and `embhub push`", _card),
    Rule("audit-format", "audit.json, where there is one, is a well-formed report (embhub.audit/3): no unknown or"
         " duplicate member, no NaN, no more parts than its attacks need. It holds an order of labels only where they"
         " are coins of the audit (shadow embeddings, canaries); of patients, an order would list who was trained on.",
         "`embhub audit FILE` writes the report anew; then sign and push again", _audit_format),
    Rule("personal-data", "The same for every field of the card, README.md and the embedding's header;"
         " `contact_role` may name a shared mailbox.",
         PERSONS.remedy, _card_persons),
    Rule("base-model", "The base model is named and fingerprinted, in the embedding's header and in the card. An"
         " import, whose header says so, may name it alone.",
         "`embhub train` takes the fingerprint; `embhub import` marks what came from elsewhere", _base),
    CLAIM,
    Rule("audit-missing", "Where the registry asks for it (`init --audit required`), there is an audit report.",
         "`embhub audit FILE`, then sign and push again", _audit_present),
    Rule("audit-mismatch", "The figures, counts, verdict and words of the audit report agree with each other.",
         "`embhub audit FILE` writes the report anew; then sign and push again", _audit_figures),
    SAMPLES,
    ATTESTATION,
    STUDY,
    Rule("revoked-key", "No attestation that a commit brings is signed by a revoked key, whatever date it names.",
         _NEW_KEY, check_keys),
    Rule("audit-kept", "Audits of the present version stand side by side. What an auditor attested is removed or"
         " replaced by that auditor or an admin. What a version was signed with, or its publisher attested, stays: a"
         " new statement of the same version names the same report.",
         "leave audit.json and its attestation as they are, or ask its auditor", check_audit_kept),
    Rule("withdrawn", "The embedding's numbers were not withdrawn, under whatever header: by a publisher under this"
         " namespace, by the operator under any.",
         "publish an embedding trained anew; if it was a mistake, the operator can allow the bytes:"
         " `curate digest allow`",
         check_withdrawn),
    Rule("rollback", "The version is higher than every version that was ever published in the repository. The present"
         " one may be signed anew while embedding and card stay. Versions that only a stolen key signed do not count.",
         "raise `version` in the card, sign again, push again", check_version),
    Rule("replaces", "A statement that names the embedding it replaces names the present one.",
         "pull the present release, then sign again", check_replaces),
)  # fmt: skip
