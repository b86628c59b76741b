"""What public rules ask about such a release, and which page of the pack helps to answer it.

Statements about law are short, dated, and none of them is advice; what they rest on was read on AS_OF.
"""

from __future__ import annotations

from typing import NamedTuple

AS_OF = "2026-11-20"
NOT_ADVICE = f"Not legal advice. Statements about rules are as of {AS_OF}; rules and their reading change."


class Rule(NamedTuple):
    """A rule, what it asks in a sentence, and what this pack has for it and has not."""

    source: str
    asks: str
    here: str
    missing: str


RULES = (
    Rule(
        "EDPB Opinion 28/2024 (17 December 2024)",
        "Whether a trained model still holds personal data is decided case by case, with tests against named attacks"
        " and"
        " with regard to who gets the model.",
        "Which of the named attacks were tried, and how hard. A published embedding is in everybody's hands: attackers"
        " have the file itself.",
        "The decision. Most of the named attacks are not tried by any suite.",
    ),
    Rule(
        "GDPR Article 35 (impact assessment)",
        "A description of the processing, of its risks to people, and of the measures against them.",
        "Inputs for the technical risks: what leaves, what was tried, what a guarantee bounds.",
        "Necessity, proportionality, legal basis, other risks: the controller's own assessment.",
    ),
    Rule(
        "GDPR Article 17 (erasure)",
        "Personal data are erased where a person may ask for it.",
        "What can be done after release, in section 5 above: which release, yank, train anew.",
        "Whether the article reaches a published embedding. Copies that others hold cannot be called back.",
    ),
    Rule(
        "NIST SP 800-226 (differential privacy)",
        "A claim is read with its unit, its parameters and everything around it that it does not cover.",
        "The claim, recomputed, its unit and its list of what it does not cover; or that there is none.",
        "That the training ran as claimed.",
    ),
    Rule(
        "HIPAA, expert determination (45 CFR 164.514(b)(1))",
        "An expert finds the risk of identification very small and documents how.",
        "One input to it: figures with intervals, and what they could not have seen.",
        "The expert's finding.",
    ),
)

TRIGGERS = (
    "A stronger attack on such embeddings is published, or embhub's suites gain one.",
    "Another embedding is trained on some of the same patients, released or not: what they lose adds up.",
    "The base model changes, or a fault in it becomes known.",
    "The release, its card or its audit report is changed in any byte.",
    "Twelve months have passed.",
)

AFTER_RELEASE = (
    "Which releases are concerned: this site's record of the training names the patients, under the digest on this"
    " page; its privacy ledger names, under keyed ids, all trainings that a patient was in (embhub budget show).",
    "Take it back: the publisher or the registry's operator yanks the release with a reason"
    " (embhub-registry yank). People who look for it are warned; copies that were pulled remain.",
    "Train anew without the person. Without a privacy claim a new version beside the old one points at the person: the"
    " old file stays public, and the two differ by who objected. Change several patients at once, wait for the next"
    " regular version, train with a claim, or yank without replacement.",
    "Rows that were learned cannot be edited so that they forget one person.",
)
