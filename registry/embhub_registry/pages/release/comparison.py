"""Two releases side by side, row by row, and which rows differ. Pure."""

from __future__ import annotations

from embhub.audits.attack_figures import shown_p_value
from embhub.audits.explanation import plural
from embhub_registry.pages.release.page_facts import ComparedRow, ComparisonPage, EmbeddingPage
from embhub_registry.pages.wordings import audit_badge

NOTHING = "–"


def compare(left: EmbeddingPage, right: EmbeddingPage) -> ComparisonPage:
    """Every fact that either release states, in the order of their pages."""
    first, second = _facts(left), _facts(right)
    names = list(dict.fromkeys([*first, *second]))
    order = list(dict.fromkeys(section for section, _ in names))
    rows = tuple(
        _row(key, first.get(key, NOTHING), second.get(key, NOTHING))
        for key in sorted(names, key=lambda name: order.index(name[0]))
    )
    same = sum(row.same for row in rows)
    return ComparisonPage(
        registry=left.registry, asked=(left.id, right.id), ids=(left.id, right.id),
        revisions=(left.revision, right.revision), rows=rows, same=same, different=len(rows) - same,
    )  # fmt: skip


def _row(key: tuple[str, str], left: str, right: str) -> ComparedRow:
    return ComparedRow(section=key[0], name=key[1], values=(left, right), same=left == right)


def _yanked(page: EmbeddingPage) -> str:
    if page.yanked is None:
        return "no"
    who = "a site of its study" if page.yanked.by == "site" else f"the {page.yanked.by}"
    return "signed with a stolen key" if page.yanked.by == "key-stolen" else f"yes, by {who}"


def _facts(page: EmbeddingPage) -> dict[tuple[str, str], str]:
    """A release's facts by section and name; of one that does not verify, only that."""
    front = "At a glance"
    if page.state != "verified":
        state = "nothing published" if page.state == "empty" else "does not verify: do not use it"
        return {(front, "State"): state}
    assert page.provenance is not None and page.privacy is not None and page.use is not None  # noqa: S101  # what verified has all three
    audit, signer = page.audit, page.provenance.signer
    facts = {
        (front, "State"): "verified",
        (front, "Version"): page.version or NOTHING,
        (front, "Placeholder token"): page.use.token,
        (front, "Signed by"): f"{signer.name} ({signer.fingerprint})",
        (front, "Signed on"): page.provenance.signed[:10],
        (front, "Yanked"): _yanked(page),
        ("Privacy", "Guarantee"): "none"
        if page.privacy.epsilon is None
        else f"claimed: epsilon {page.privacy.epsilon:g}, delta {page.privacy.delta:g}, for each {page.privacy.unit}"
        + (f"; {page.privacy.together}" if page.privacy.together else ""),
        ("Audit", "Verdict"): audit_badge(page.verdict or "not-audited", page.confirmation, page.auditors).short,
    }
    if audit:
        facts |= {
            ("Audit", "Suite and deciding attack"): f"{audit.suite}, {audit.attack}",
            ("Audit", "p-value (threshold)"): NOTHING
            if audit.p_value is None or audit.limit is None
            else f"{shown_p_value(audit.p_value)} ({audit.limit:.2g})",
            ("Audit", "Epsilon shown, and claimed"): f"{audit.shown_epsilon:.2f}, {audit.claimed:.2f}"
            if audit.claimed
            else NOTHING,
            ("Audit", "AUC, 95 % interval"): NOTHING
            if audit.claimed
            else f"{audit.auc:.2f} ({audit.interval[0]:.2f} to {audit.interval[1]:.2f})",
            ("Audit", "Smallest detectable leak"): NOTHING if audit.claimed else f"AUC {audit.smallest_auc:.2f}",
            ("Audit", "Cohort"): f"{audit.inside} {plural(audit.unit)} in training, {audit.outside} held out",
            ("Audit", "Countersigned by"): page.provenance.auditor.name
            if page.provenance.auditor and page.provenance.independent
            else "no independent auditor",
        }
    facts |= {(section.title, row.name): row.value for section in page.sections for row in section.rows}
    embedding = next((file for file in page.files if file.path.endswith(".safetensors")), None)
    if embedding:
        facts[("File", "Size")] = f"{embedding.size:,} bytes"
        facts[("File", "SHA-256")] = embedding.sha256
    return facts
