"""What lists, search and pages show of a repository, taken from its card at commit time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embhub.cards.card import Card
from embhub.formats import safe_yaml
from embhub.privacy import wording
from embhub.privacy.claim import PrivacyClaim
from embhub.release.checks import site_totals
from embhub.release.files import CARD, SAMPLES
from embhub.release.verification import Verified
from embhub_registry.admission.rules import Admitted

MAX_FRONT_MATTER = 200_000
MAX_TAG = 150


@dataclass(frozen=True)
class Described:
    """`summary` is stored with the repository, `tags` filter lists, `text` is what a search box searches."""

    summary: dict[str, Any]
    tags: tuple[str, ...]
    text: str


def describe(full_name: str, files: Mapping[str, bytes], admitted: Admitted) -> Described:
    """A repository's entry in lists."""
    front, _ = front_matter(files.get(CARD, b""))
    tags = [tag for tag in front.get("tags") or [] if _is_word(tag)][:50]
    tags += [front[name] for name in ("pipeline_tag", "library_name") if _is_word(front.get(name))]
    if _is_word(licence := front.get("license")):
        tags.append(f"license:{licence}")
    if _is_word(base := front.get("base_model")):
        tags.append(f"base_model:{base}")
    if admitted.verified is None:
        return Described(
            {"front_matter": front, "release": None}, tuple(dict.fromkeys(tags)), f"{full_name} {' '.join(tags)}"
        )
    summary = {**summarise(admitted.verified.card, admitted), "sheet": SAMPLES in files}
    tags += [f"audit:{summary['audit']}", f"privacy:{'none' if summary['privacy'] == 'none' else 'claimed'}"]
    if summary["source"]:
        tags.append(port_tag(summary["source"]))
    words = [full_name, summary["description"], summary["publisher"], summary["token"], *summary["modality"],
             *summary["anatomy"], *summary["finding"], summary["base"], *tags]  # fmt: skip
    return Described({"front_matter": front, "release": summary}, tuple(dict.fromkeys(tags)), " ".join(words))


def summarise(card: Card, admitted: Admitted) -> dict[str, Any]:
    """The card in one row of a list."""
    verified = admitted.verified
    return {
        "name": card.name, "version": card.version, "description": card.description, "publisher": card.publisher,
        "licence": card.licence, "token": card.token, "base": card.base_model.id, "family": card.base_model.family,
        "modality": list(card.modality), "anatomy": [c.display for c in card.anatomy],
        "finding": [c.display for c in card.finding],
        "privacy": wording.short(card.privacy) if isinstance(card.privacy, PrivacyClaim) else card.privacy,
        "epsilon": _epsilon(card), "site_total": _site_total(card),
        "audit": verified.report.verdict if verified and verified.report else "not-audited",
        "confirmation": _confirmation(verified),
        "auditors": [auditor.namespace for auditor in verified.countersigners] if verified else [],
        "signer": verified.signer.fingerprint if verified else "",
        "embedding": verified.embedding.digest if verified else "",
        "source": card.derived_from.source if card.derived_from else None,
    }  # fmt: skip


def port_tag(source: str) -> str:
    """What ports of the embedding with this SHA-256 are found by. A card can have it, too: the summary decides."""
    return f"derived-from:{source}"


def _epsilon(card: Card) -> float | None:
    """What the claim comes to with this site's other trainings, at one delta for all; None without a claim or bound."""
    found = card.privacy.epsilon_to_judge_by if isinstance(card.privacy, PrivacyClaim) else None
    return found if found is not None and math.isfinite(found) else None


def _site_total(card: Card) -> dict[str, Any] | None:
    total = site_totals.stated(site_totals.of_this_site(card))
    return None if total is None else total.model_dump()


def _confirmation(verified: Verified | None) -> str:
    """Whose word the release's own audit is; audits of the same bytes come to it when it is stored."""
    if verified is None or verified.report is None:
        return "none"
    return "countersigned" if verified.independent else "self-declared"


def front_matter(readme: bytes, *, limit: int = MAX_FRONT_MATTER) -> tuple[dict[str, Any], str | None]:
    """The YAML on top of a README.md, and why it cannot be read (None where it can, or where there is none)."""
    match = re.match(rb"---\r?\n(.*?\n)---\r?(?:\n|$)", readme, re.DOTALL)
    if match is None:
        return {}, None
    try:
        values = safe_yaml.load(match[1], limit=limit)
    except safe_yaml.YamlError as error:
        return {}, str(error)
    if not isinstance(values, dict):
        return {}, "the front matter is not a list of `name: value` lines"
    if not isinstance(values.get("tags") or [], list):
        return {}, "`tags` is not a list"
    return values, None


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TAG
