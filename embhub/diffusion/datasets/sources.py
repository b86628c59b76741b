"""The embeddings of a data set: verified where they are signed, their cards asked whether they may be used so."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embhub.artifact.embedding import Embedding
from embhub.audits.report import AuditReport
from embhub.cards import permission
from embhub.cards.card_schema import Card
from embhub.cards.personal_data import looks_like_patient
from embhub.client.pulling.opening import open_path
from embhub.client.pulling.pull import verify_path
from embhub.diffusion.datasets.asking import Class
from embhub.errors import PrivacyError, UsageError
from embhub.release import at_the_site
from embhub.release import files as release_files
from embhub.release.verification import Verified


class UseForbiddenError(UsageError):
    """An embedding's licence or card allows no data set of images drawn with it, or a person must read them first."""


@dataclass(frozen=True)
class Origin:
    """An embedding of a data set.

    `name` is `namespace/name version` where it is published, else its file's name. `card` is None where there is none;
    `signed` says whether a signature covers it. `declared` says what a person answered for.
    """

    target: str
    name: str
    embedding: Embedding
    card: Card | None
    signed: bool
    verdict: str
    conditions: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def find(
    targets: Iterable[str],
    *,
    registry: str | None = None,
    no_card: Collection[str] = (),
    terms_read: Collection[str] = (),
) -> dict[str, Origin]:
    """Every embedding by its target, each asked once whether data sets may be made of it.

    Args:
        targets: files, folders, or repositories `namespace/name[@revision]`, which are fetched and verified.
        no_card: tokens of unsigned files without a card that a person answers for.
        terms_read: tokens whose licence or card only a person can read, who says that they allow it.

    Raises:
        UseForbiddenError: the licence or card of one forbids it, or leaves it to a person who has not answered.
        UsageError: no such file, a card of another token, or an answer about a token that is not used.
        PrivacyError: an unsigned file whose name looks like a person's.
        VerificationError: a signed one that is not what a trusted publisher signed.
    """
    found = {target: _open(target, registry) for target in dict.fromkeys(targets)}
    tokens = {origin.embedding.token for origin in found.values()}
    if unknown := sorted({*no_card, *terms_read} - tokens):
        raise UsageError(f"no embedding has the token {unknown[0]!a}", f"the tokens are {', '.join(sorted(tokens))}")
    return {target: _permitted(origin, no_card, terms_read) for target, origin in found.items()}


def assign(item: Class, origins: Sequence[Origin], *, all_of_them: bool) -> tuple[Origin, ...]:
    """The embeddings of a class: those named for it, or (from the command line) those whose token its prompt has.

    Raises:
        UsageError: a prompt without the token of an embedding of its class, or two embeddings of one token.
    """
    chosen = [o for o in origins if all_of_them or o.embedding.token in item.prompt or "{}" in item.prompt]
    tokens = [origin.embedding.token for origin in chosen]
    if len(set(tokens)) < len(tokens):
        raise UsageError(
            f"two embeddings of the class {item.label} have the same token",
            "write the classes in a file, which names the embeddings of each",
        )
    if missing := [token for token in tokens if token not in item.prompt and "{}" not in item.prompt]:
        raise UsageError(
            f"the prompt of {item.label} does not mention {missing[0]}", f'write it where it belongs: "… {missing[0]}"'
        )
    return tuple(chosen)


def _open(target: str, registry: str | None) -> Origin:
    path = Path(target)
    if not path.exists():
        return _of_release(target, verify_path(target, registry=registry))
    opened = open_path(path)
    if opened.verified is not None:
        return _of_release(target, opened.verified, opened.warnings)
    file = path / release_files.EMBEDDING if path.is_dir() else path
    release = at_the_site.read(file)
    card = release.card if release_files.CARD in release.files else None
    if card is not None and card.token != opened.embedding.token:
        raise UsageError(
            f"the embedding has the token {opened.embedding.token}, and its card is of {card.token}",
            f"renew the card: embhub card init {target}",
        )
    if looks_like_patient(file.stem):  # it is written into the description
        raise PrivacyError("the name of an embedding's file looks like a person's", "give the file a neutral name")
    return Origin(
        target=target, name=file.stem, embedding=opened.embedding, card=card, signed=False,
        verdict=_verdict(_about(release.audit, opened.embedding)), warnings=opened.warnings,
    )  # fmt: skip


def _of_release(target: str, verified: Verified, warnings: tuple[str, ...] | None = None) -> Origin:
    heard = tuple(item.text for item in verified.findings if item.outcome == "warning")
    return Origin(
        target=target, name=f"{verified.repository} {verified.version}", embedding=verified.embedding,
        card=verified.card, signed=True, verdict=f"{_verdict(verified.report)}{_by_whom(verified)}",
        warnings=heard if warnings is None else warnings,
    )  # fmt: skip


def _verdict(report: AuditReport | None) -> str:
    return "not audited" if report is None else f"{report.verdict} ({report.suite} suite)"


def _about(report: AuditReport | None, embedding: Embedding) -> AuditReport | None:
    """The report beside an unsigned file, unless it is of an earlier one."""
    return report if report is not None and report.artifact.sha256 == embedding.digest else None


def _by_whom(verified: Verified) -> str:
    if verified.report is None:
        return ""
    if verified.auditor is not None and verified.independent:
        return f", countersigned by {verified.auditor.namespace}"
    return ", the publisher's own audit"


def _permitted(origin: Origin, no_card: Collection[str], terms_read: Collection[str]) -> Origin:
    token, warnings = origin.embedding.token, origin.warnings
    if origin.verdict.startswith("leak-detected"):
        warnings += (f"the audit of {origin.name} found that it tells who was trained on; its images may, too",)
    if origin.card is None:
        if token not in no_card:
            raise UseForbiddenError(
                f"{origin.target} has no card: nobody says what it may be used for",
                f'write one (embhub card init {origin.target}), or take responsibility: --allow-no-card "{token}"',
            )
        warnings += (f"{origin.name} has no card: you answer for what it is used for",)
        declared = "it has no card; who made this data set answers for its use"
        return replace(origin, declared=(declared,), warnings=warnings)
    found = permission.judge(origin.card)
    if found.standing == "forbidden":
        raise UseForbiddenError(
            f"no data set may be made with {token}: {found.reason}", "ask its publisher, or leave it out"
        )
    if found.standing == "allowed":
        return replace(origin, conditions=found.conditions, warnings=warnings)
    if token not in terms_read:
        raise UseForbiddenError(
            f"whether a data set may be made with {token} is for a person to read: {found.reason}",
            f'read licence and card; where they allow it, pass --accept-terms "{token}"',
        )
    declared = f"a person read its terms and found that they allow this ({found.reason})"
    return replace(origin, declared=(declared,), conditions=found.conditions, warnings=warnings)
