"""What is said of epsilon is said of one and the same person, everywhere; the figures in it are the code's own."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import get_args

import pytest

from embhub.artifact import embedding
from embhub.audits.report import AuditReport
from embhub.errors import UsageError
from embhub.evidence.gathering import describe_privacy
from embhub.evidence.sections.guarantee import guarantee, per_hundred
from embhub.evidence.sections.sections import tabulate_limits
from embhub.ledger import studies as in_ledger
from embhub.options.training import choose_privacy
from embhub.privacy import epsilon as epsilons
from embhub.privacy import wording
from embhub.privacy.claim import PrivacyClaim
from embhub.privacy.composition import Composition
from embhub.privacy.fields import ALWAYS_UNPROTECTED, MAX_DELTA, Unprotected
from embhub.privacy.rdp import largest_tpr
from embhub.privacy.reconstruction import most_rebuilt
from tests.support.claims import make_claim, make_study, make_study_claim
from tests.test_prose import sentences

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("embhub", "registry", "docs", "examples", "README.md")
    for path in ([ROOT / folder] if (ROOT / folder).is_file() else (ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".html", ".j2", ".md"}
)
# Shares of those who took part beside shares of others: differential privacy bounds no such pair.
FALSE = re.compile(
    r"of those that were\b|of 100 (?:who|that) were|of (?:your|the) patients, on average|of 100 trained on"
    r"|members any attack|members found at most|find up to [^.]* of the members|wrongly (?:accus|nam)\w*"
    r"|finds? (?:more than|at most) [^.]{0,30}(?:of 100|of your|of those|of the (?:members|patients))"
    r"|identif(?:y|ies) (?:at most|up to) .{0,30}? of (?:the |true )?(?:members|patients)"
    r"|accuses 1 %|found_at_most|times as well as guessing",
    re.I,
)
TRUE = "named a given patient with probability 1 % had she not taken part, names her with at most"
UNBOUNDED = "What finding, hospital and years give away by themselves is not bounded"


def said(text: str) -> str:
    """Text as it is read: string literals that stand one after another joined, white space folded."""
    return " ".join(re.sub(r"\"\s*\n\s*f?\"", "", text).split())


def shapes() -> list[PrivacyClaim]:
    return [
        make_claim(),
        make_claim(sigma=8.4392),
        make_claim(sigma=1.6),
        make_claim(delta=1e-7),
        make_claim(mechanism="dp-agg", batch=100, sigma=1.9939, steps=1),
        make_claim(mechanism="votes", batch=100, sigma=3.4536, steps=3),
        make_claim(unit="image", max_images_per_unit=1),
        make_study_claim(),
    ]


@pytest.mark.parametrize(
    "old",
    [
        "is wrong about 1 % of those that were not, finds at most 7.4 % of those that were.",
        "at a 1 % false-positive rate an attacker identifies at most 7.4 % of members",
        "nobody who guesses from this file alone and wrongly accuses 1 of 100 patients not trained on",
        "Of 100 who were, he finds at most so many",
        "who wrongly names 1 % of others then finds at most 7.4 % of the patients, on average",
        "find up to 97% of the members",
        "at most 2.8 times as well as guessing",
    ],
)
def test_the_search_finds_what_was_said_before(old: str) -> None:
    assert FALSE.search(old)


# With all images of a cohort the order of patients' labels is the list of members, and a report still tells a little.
TOLD_TOO_LITTLE = re.compile(
    r"audit report identifies nobody|only the order of labels|can narrow down the side of the others"
    r"|the real seed is unknown|order in which members and non-members ranked",
    re.I,
)


@pytest.mark.parametrize(
    "old",
    [
        "An audit report identifies nobody.",
        "no hash, score or seed is published, only the order of labels",
        "Anyone who holds the images of most of these patients can narrow down the side of the others",
        "The real seed is unknown, so the scores differ",
    ],
)
def test_the_search_finds_what_was_said_of_audits(old: str) -> None:
    assert TOLD_TOO_LITTLE.search(old)


def test_no_text_says_that_an_audit_report_tells_nothing() -> None:
    assert [str(path) for path in SOURCES if TOLD_TOO_LITTLE.search(said(path.read_text(errors="ignore")))] == []


# What attacks on one file rule out, what a report holds, and what a test of the code finds.
TOO_STRONG = re.compile(
    r"(?:every|each) attack (?:that was run|below), a leak .{0,80} ruled out|ranks of both sides|matches nobody"
    r"|pass(?:es)? through (?:the )?whole training|accidentally broken noise, clipping",
    re.I,
)


@pytest.mark.parametrize(
    "old",
    [
        "For every attack that was run, a leak as large as the bounds set in advance is ruled out",
        "For each attack below, a leak with an AUC of {auc_bound} or more is ruled out",
        "the audit report: figures, and ranks of both sides",
        "no audit score and no seed leaves: an outsider matches nobody",
        "made-up patients pass through whole trainings",
        "accidentally broken noise, clipping or sampling is caught",
    ],
)
def test_the_search_finds_what_was_said_of_clean_verdicts(old: str) -> None:
    assert TOO_STRONG.search(old)


def test_no_text_says_more_of_an_audit_than_it_rules_out() -> None:
    assert [str(path) for path in SOURCES if TOO_STRONG.search(said(path.read_text(errors="ignore")))] == []


# A folder that is not there, and figures for several units that were several times the truth.
OUTDATED = re.compile(r"embhub[./]accounting|by general bounds|the general bound is about", re.I)


@pytest.mark.parametrize(
    "old",
    [
        "by Rényi accounting and by the privacy-loss distribution (`embhub/accounting/`)",
        "at most 84.0 for 8 images of one patient, by general bounds",
        "the general bound is about 6.1, 18 and 67, by the Rényi curve",
    ],
)
def test_the_search_finds_what_was_said_of_accounting(old: str) -> None:
    assert OUTDATED.search(old)


def test_no_text_names_a_folder_that_is_gone_or_a_loose_figure() -> None:
    assert [str(path) for path in SOURCES if OUTDATED.search(said(path.read_text(errors="ignore")))] == []


def test_the_page_of_claims_has_the_codes_figures_for_several_units() -> None:
    page = said((ROOT / "docs/reference/privacy-claim.md").read_text())
    found = re.search(r"they are ([\d.]+) for 2, ([\d.]+) for 4 and ([\d.]+) for 8", page)
    (item,) = make_claim().parameters
    computed = [math.ceil(epsilons.of_group(item, size=size, delta=MAX_DELTA) * 10) / 10 for size in (2, 4, 8)]
    assert found and list(map(float, found.groups())) == computed


def test_every_claim_for_patients_says_what_two_ids_of_one_person_come_to() -> None:
    for claim in shapes():
        (item,) = claim.parameters
        two = math.ceil(epsilons.of_group(item, size=2, delta=claim.delta) * 10) / 10
        told = f"for both together, as for twins, epsilon is at most {two:,.1f}."
        assert (told in " ".join(claim.words())) is (claim.unit == "patient")


def test_the_audit_of_the_embedding_that_comes_along_is_of_it_and_holds() -> None:
    """Its figures are computed from what is published: another level or limit asks for another audit."""
    place = ROOT / "examples/embeddings/cxr-bacterial-pneumonia.safetensors"
    report = AuditReport.parse(place.with_suffix(".audit.json").read_bytes())
    assert (report.artifact.sha256, report.check()) == (embedding.read(place).digest, [])


def test_the_embedding_that_comes_along_says_one_epsilon() -> None:
    claim = embedding.read(ROOT / "examples/embeddings/cxr-bacterial-pneumonia.safetensors").privacy
    assert isinstance(claim, PrivacyClaim) and isinstance(claim.composition, Composition)
    assert (claim.composition.trainings, claim.composition.epsilon) == (1, claim.epsilon)


def test_no_text_compares_those_who_took_part_with_others() -> None:
    guilty = [
        f"{path.relative_to(ROOT)}: {found.group()}"
        for path in SOURCES
        for found in FALSE.finditer(said(path.read_text(errors="ignore")))
    ]
    assert guilty == []


@pytest.mark.parametrize("claim", shapes(), ids=lambda claim: f"{claim.unit} {claim.epsilon:g} {claim.delta:g}")
def test_claims_and_pack_speak_of_one_person_with_the_codes_figures(claim: PrivacyClaim) -> None:
    words = " ".join(claim.words())
    told = describe_privacy(claim)
    answer = " ".join(part.text for part in guarantee(told))
    page = f"{words} {answer} {tabulate_limits(told)}"
    assert not FALSE.search(page)
    most = largest_tpr(claim.epsilon, fpr=0.01, delta=claim.delta)
    for text in (words, answer):
        assert UNBOUNDED in text
        assert (TRUE in text) is (claim.unit == "patient")
        stated = re.search(r"names (?:her|it) with at most ([\d.]+) % if (?:she did|it was)", text)
        assert stated and 100 * most <= float(stated[1]) <= 100 * most + 0.1001
    assert f"Delta = {claim.delta:g}" in words and f"at most 1 in {round(1 / claim.delta):,}, for each" in words
    for limit in told.limits:
        assert limit.named_with_at_most == largest_tpr(claim.epsilon, fpr=limit.named_without, delta=claim.delta)


def test_every_private_claim_names_the_decision_to_release() -> None:
    assert set(ALWAYS_UNPROTECTED) == set(get_args(Unprotected)) - {"lineage"}
    assert all("the decision to release" in " ".join(claim.words()) for claim in shapes())


@pytest.mark.parametrize("colluders", [0, 1, 3])
def test_a_claim_of_a_study_says_both_figures_and_against_whom_each_holds(colluders: int) -> None:
    claim = make_study_claim(colluders=colluders)
    assert claim.study is not None
    words, line, larger = " ".join(claim.words()), wording.short(claim), claim.study.epsilon_against_sites
    who = {0: "does not work with the coordinator", 1: "with at most one site", 3: "with at most 3 sites"}[colluders]
    assert (
        f"The epsilon of {claim.epsilon:g} holds against everybody who is none of these sites, if every site" in words
    )
    assert f"{who}, epsilon is {larger:g}: " in words and claim.study.digest in words
    assert wording.person("patient", larger, claim.delta) in words
    assert "each patient's whole contribution at one site" in words and "one person at two sites, count as two" in words
    assert f"counts {larger:g} for its patients in a ledger of its own, and all {claim.steps} steps" in words
    assert "can spoil what the file draws" in words and "one bit about these images" in words
    assert f"epsilon {claim.epsilon:g} with delta 1e-05 for each patient at one site" in line
    assert line.endswith(f"; {larger:g} against any one of the 8 sites that trained it")
    assert not any("sites" in sentence for sentence in make_claim().words() if "Not covered" not in sentence)


def test_two_sites_of_one_person_are_a_group_by_both_figures() -> None:
    claim = make_study_claim()
    (own,), (weakest,) = claim.parameters, claim.weakest
    for figure in (own, weakest):
        of_two = math.ceil(epsilons.of_group(figure, size=2, delta=claim.delta) * 10) / 10
        assert f"is at most {of_two:,.1f}." in " ".join(claim.words())


def test_a_study_is_called_large_by_its_larger_figure() -> None:
    claim = make_study_claim(sites=("a", "b"), dropouts=0)
    assert claim.is_weak and f"An epsilon of {claim.largest_epsilon:g} is large" in " ".join(claim.words())
    assert "is large" not in " ".join(make_study_claim().words())


def test_the_pack_shows_both_figures_of_a_study() -> None:
    claim = make_study_claim()
    told = describe_privacy(claim)
    answer, table = " ".join(part.text for part in guarantee(told)), tabulate_limits(told)
    larger = claim.largest_epsilon
    assert (
        f"epsilon {claim.epsilon:g}, delta" in answer and f"against one of these sites, epsilon is {larger:g}" in answer
    )
    assert table.heads[-1].endswith(f"by another site of the study (ε {larger:g})") and len(table.heads) == 3
    assert table.rows[1].cells[1] == f"{per_hundred(largest_tpr(larger, fpr=0.01, delta=claim.delta))} %"
    by_site = most_rebuilt(claim.weakest, chance=0.01)
    assert told.reconstruction[1].rebuilt_at_most == by_site > most_rebuilt(claim.parameters, chance=0.01)


def test_the_page_for_officers_says_it_and_asks_for_no_attack_on_a_private_file() -> None:
    page = said((ROOT / "docs/privacy-for-dpos.md").read_text())
    assert f"{TRUE} 2.8 % if she did (ε = 1)" in page and "give away by themselves is not bounded" in page
    assert per_hundred(largest_tpr(1.0, fpr=0.01, delta=MAX_DELTA)) == "2.8"
    assert "at most 1 in 100,000 for each patient" in page
    assert "do not ask for an attack on its patients" in page and "audit the *recipe* on other data" in page
    first = page.split("## What to ask")[1].split("2. ")[0]
    assert "`standard`" not in first and "the claim decides" in first


def test_officers_read_all_that_a_claim_does_not_cover() -> None:
    listed = {
        "base-model": "the base model",
        "settings": "the settings of the training, if a person chose them by looking at results",
        "public-n": "the declared number of patients, and the largest number of images used of one patient",
        "card": "what the card or a person reveals",
        "lineage": "trainings that the ledger does not know of",
        "release-decision": "the decision to release",
    }
    assert set(listed) == set(get_args(Unprotected)) >= set(ALWAYS_UNPROTECTED)
    page = (ROOT / "docs/privacy-for-dpos.md").read_text().split("ε does **not** cover:")[1].split("\n\nClaims")[0]
    items = [said(item) for item in page.split("\n- ")[1:]]
    missing = [key for key, words in listed.items() if not any(item.startswith(words) for item in items)]
    assert not missing


def test_officers_read_ten_sentences_on_studies_that_the_code_keeps() -> None:
    page = (ROOT / "docs/privacy-for-dpos.md").read_text().split("## Studies of several sites")[1].split("\n## ")[0]
    told = list(sentences(page))
    assert len(told) == 10
    claim, joining = " ".join(make_study_claim().words()), in_ledger.words(make_study())
    for word, here in {
        "no site of the study, if every site adds its share": "none of these sites, if every site added its share",
        "the coordinator with as many sites as the study names": "the coordinator with at most one site",
        "if more lie or work together, neither figure holds": "If more sites lie or work together, neither holds",
        "counts as two patients": "one person at two sites, count as two patients",
        "reveals one bit about them": "tells one bit about these images",
    }.items():
        assert word in " ".join(told) and here in claim
    assert "compare keys by telephone" in told[5]
    assert "with the larger figure for all steps, and nothing is given back" in told[7]
    assert "all 50 steps at once: epsilon 4.5" in joining and "Nothing is given back" in joining


def test_the_guide_gives_the_codes_figures() -> None:
    page = said((ROOT / "docs/how-to/train-with-privacy.md").read_text())
    stated = re.search(
        r"names her with at most ([\d.]+) % if she did at epsilon 1, ([\d.]+) % at 2, ([\d.]+) % at 4", page
    )
    assert stated and UNBOUNDED in page
    computed = [per_hundred(largest_tpr(epsilon, fpr=0.01, delta=MAX_DELTA)) for epsilon in (1.0, 2.0, 4.0)]
    assert list(stated.groups()) == computed


def test_the_command_line_says_it() -> None:
    with pytest.raises(UsageError) as caught:
        choose_privacy(None, n_public=50)
    assert caught.value.hint and f"{TRUE} 7.4 % if she did" in caught.value.hint
    assert per_hundred(largest_tpr(2.0, fpr=0.01, delta=MAX_DELTA)) == "7.4"


def test_delta_in_words_is_never_rarer_than_delta() -> None:
    assert wording.odds(1e-5) == "1 in 100,000" and wording.odds(0.01) == "1 in 100"
    assert wording.odds(3e-6) == "1 in 333,333"
