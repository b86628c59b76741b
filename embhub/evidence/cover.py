"""Page one of the pack: what is to be decided, and the six answers that a decision needs. Plain words, no jargon."""

from __future__ import annotations

from html import escape

from embhub.audits.explanation import TITLES, plural
from embhub.evidence.document import Audit, Evidence, Privacy
from embhub.privacy.wording import per_person
from embhub.release.files import SAMPLES

VERDICTS = {
    "leak-detected": "An attack could tell who was trained on. This speaks against releasing the file as it is.",
    "insufficient-evidence": "The audit was too small or too weak to say, or did not attack the file: it clears"
    " nothing.",
    "no-leak-detected": "For every attack that was tried, a leak as large as the bounds fixed beforehand is ruled out"
    " with 95 % confidence. Smaller leaks and other attacks remain possible.",
}


def render(evidence: Evidence) -> str:
    """The first page, as an HTML fragment."""
    audit = evidence.audit
    return "\n".join(
        [
            "<section class=cover>",
            f"<p class=kicker>Evidence for the data-protection officer and the controller &middot; made"
            f" {evidence.made[:10]} by embhub {evidence.tool.version}</p>",
            f"<h1>May &ldquo;{escape(title(evidence))}&rdquo; leave the hospital?</h1>",
            f"<p>{_what_it_is(evidence)}</p>",
            _concerns(evidence),
            f'<div class="verdict {audit.verdict}"><strong>{_heading(audit)}</strong>'
            f"<p>{escape(audit.means)} {escape(audit.does_not_mean)}</p></div>",
            f"<table class=answers>{''.join(_row(*pair) for pair in _answers(evidence))}</table>",
            f"<h2>What a verdict means</h2><table class=answers>{_verdicts(audit)}</table>",
            "<p><b>The controller decides, not this tool.</b> No verdict says that the file is harmless or that"
            " releasing"
            " it is lawful. The form on the last page takes the decision down, bound to these very bytes.</p>",
            f"<p class=small>{escape(evidence.regulation.not_advice)}</p></section>",
        ]
    )


def _heading(audit: Audit) -> str:
    of_code = " of the code, not of the file" if audit.suite == "mechanism" else ""
    return f"The audit{of_code}: {TITLES[audit.verdict].lower()}"


def title(evidence: Evidence) -> str:
    """Name and version."""
    return f"{evidence.subject.name} {evidence.card.version or ''}".strip()


def _what_it_is(evidence: Evidence) -> str:
    subject = evidence.subject
    rows = " and ".join(f"{row.count} row{'s' if row.count > 1 else ''} of {row.dim} numbers" for row in subject.rows)
    return (
        f"It is one file of {subject.bytes:,} bytes: {rows}, learned from images of {_patients(evidence)}. With it, a"
        f" ready-made image generator ({escape(subject.base)}) draws what those images have in common. The file holds"
        f" no"
        " image. Its numbers came from patients all the same, and whether they tell who those patients were is the"
        " question of these pages. Once published, anybody can copy the file and study it for ever."
    )


def _patients(evidence: Evidence) -> str:
    claim, audit = evidence.privacy.claim, evidence.audit
    if isinstance(claim, dict):
        return f"at least {claim['n_public']:,} {claim['unit']}s"
    if evidence.card.patients:
        return f"{evidence.card.patients} patients"
    return f"{audit.members:,} {plural(audit.unit)}, as far as the audit knows"


def _concerns(evidence: Evidence) -> str:
    if not evidence.concerns:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in evidence.concerns[:6])
    more = len(evidence.concerns) - 6
    rest = f"<li>and {more} more, in evidence.json</li>" if more > 0 else ""
    return f"<div class=warning><b>To be put right before anybody signs</b><ul>{items}{rest}</ul></div>"


def _answers(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    return (
        ("Can somebody tell who was trained on?", _told(evidence.audit)),
        ("How hard was it tried?", _effort(evidence.audit)),
        ("Is there a guarantee?", guarantee(evidence.privacy)),
        ("What leaves?", _leaves(evidence)),
        ("What was not tried?", _untried(evidence)),
        ("When must it be looked at again?", _again(evidence)),
    )


def _told(audit: Audit) -> str:
    deciding = next(figures for figures in audit.attacks if figures.name == audit.deciding.attack)
    if audit.suite == "mechanism":
        return "This audit did not ask that of the file. It tried the code that the guarantee below rests on."
    low, high = (f"{share * 100:.0f}" for share in deciding.auc_interval)
    who = "that" if audit.unit == "image" else "who"
    return (
        f"Shown one {audit.unit} {who} was trained on and one {who} was not, the attack that decided the verdict"
        f" ({deciding.name}) picks the right one <b>{deciding.auc * 100:.0f} times in a hundred</b> (with 95 % "
        "confidence"
        f" {low} to {high}). Guessing picks it 50 times. Its p-value is {deciding.p_value:.2g}; "
        f"{audit.deciding.limit:.2g}"
        " or less is a detection."
    )


def _effort(audit: Audit) -> str:
    tried = [figures for figures in audit.attacks if figures.kind == "attack"]
    if audit.suite == "mechanism":
        shown = f"; guessing which took part showed an epsilon of {audit.coins.lower_bound:.2f}" if audit.coins else ""
        return (
            f"{audit.members + audit.nonmembers:,} made-up vectors went through that code{shown}. No patient's"
            f" image was read."
        )
    shadows = max(figures.models for figures in tried)
    recipe = f", and on {shadows} more embeddings trained alike" if shadows > 1 else ""
    many = f"{len(tried)} attack{'s' if len(tried) > 1 else ''}"
    return (
        f"{many} ({audit.suite} suite) with {audit.members:,} {plural(audit.unit)} trained on and {audit.nonmembers:,}"
        f" kept back{recipe}. It would have seen, four times in five, an attack that is right"
        f" <b>{audit.power.smallest_auc * 100:.0f} times in a hundred</b>. A smaller leak may have passed unseen."
    )


def guarantee(privacy: Privacy) -> str:
    """The claim in two or three sentences."""
    if privacy.epsilon is None or not isinstance(privacy.claim, dict):
        return (
            "<b>No.</b> It was trained without differential privacy, so no mathematics bounds what it tells about a"
            " patient. Only the audit speaks, and an audit can find a leak, never rule one out."
        )
    if privacy.refuted:
        return (
            f"<b>No.</b> An epsilon of {privacy.epsilon:g} is claimed, and this audit contradicts it:"
            f" {escape(privacy.refuted)}."
        )
    unit = privacy.claim["unit"]
    middle = next(limit for limit in privacy.limits if limit.named_without == 0.01)
    size = "but a weak one" if privacy.weak else "of a stated size"
    told = per_person(unit, "1 %", f"{per_hundred(middle.named_with_at_most)} %")
    text = (
        f"<b>Yes, {size}</b> (differential privacy, epsilon {privacy.epsilon:g}, delta {privacy.delta:g}, for"
        f" each {unit}): {told}. What finding, hospital and years give away by themselves is not bounded. It holds if"
        " training ran as the publisher says."
    )
    if unit == "image":
        text += " A patient with several images has less."
    if privacy.together_epsilon is not None:
        return f"{text} With this site's other trainings on these {unit}s: epsilon {privacy.together_epsilon:g}."
    if privacy.ledger is not None and privacy.ledger.epsilon is None:
        return (
            f"{text} <b>But none holds for all of this site's trainings on these {unit}s together:</b> one of them, or"
            " a published audit, had no such privacy."
        )
    return text


def per_hundred(share: float) -> str:
    """A chance in per cent, rounded up to a tenth: it is a bound."""
    tenths = -int(-share * 1000 // 1)
    return f"{tenths / 10:g}"


def _leaves(evidence: Evidence) -> str:
    files = evidence.shipment.files
    there = sum(row.bytes or 0 for row in files)
    made = " and those that are made on signing" if any(row.bytes is None for row in files) else ""
    drawn = " The sheet of samples was drawn, not taken: look at it." if SAMPLES in {row.name for row in files} else ""
    return (
        f"{len(files)} files: {there:,} bytes{made}, listed one by one in section 1. By design no patient's image,"
        " patient id, file name or digest of such an image is among them."
        f"{drawn} The card is text that people wrote: read it."
    )


def _untried(evidence: Evidence) -> str:
    names = [row.family for row in evidence.coverage if row.status == "not tried" and row.source.startswith("EDPB")]
    return f"Of the attacks that EDPB Opinion 28/2024 names: {', '.join(names)}. The full list is in section 4."


def _again(evidence: Evidence) -> str:
    return (
        f"By {evidence.audit_again_by} at the latest; earlier when a stronger attack is published, when another"
        f" embedding"
        " is trained on the same patients, or when the base model changes."
    )


def _verdicts(audit: Audit) -> str:
    return "".join(
        _row(TITLES[verdict], words, "this audit" if verdict == audit.verdict else "")
        for verdict, words in VERDICTS.items()
    )


def _row(question: str, answer: str, mark: str = "") -> str:
    noted = f"<small>{mark}</small>" if mark else ""
    return f"<tr><th>{question}{noted}</th><td>{answer}</td></tr>"
