"""What public rules ask about such a release, and which page of the pack helps to answer it.

Statements about law are short, dated, and none of them is advice; what they rest on was read on AS_OF.
"""

from __future__ import annotations

from embhub.pages.messages import ENGLISH, Day, message

AS_OF = "2026-11-20"
NO_ADVICE = message(
    "Not legal advice. Statements about rules are as of {day}; rules and their reading change.", day=Day(AS_OF)
)
NOT_ADVICE = ENGLISH.say(NO_ADVICE)

RULES = (
    (
        "EDPB Opinion 28/2024 (17 December 2024)",
        "Whether a trained model contains personal data is assessed case by case, with tests against named attacks and"
        " with regard to who receives the model.",
        "Which of the named attacks were tested, and how thoroughly. A published embedding is available to everyone:"
        " attackers have the file itself.",
        "The decision. Most of the named attacks are not part of any suite.",
    ),
    (
        "GDPR Article 35 (impact assessment)",
        "A description of the processing, of its risks to people, and of the measures against them.",
        "Inputs on the technical risks: what leaves the hospital, which attacks were tested, what a guarantee bounds.",
        "Necessity, proportionality, legal basis, other risks: they are for the controller to assess.",
    ),
    (
        "GDPR Article 17 (erasure)",
        "Personal data are erased at the request of a person entitled to it.",
        "What can be done after release, in section 5: find the releases, yank them, retrain.",
        "Whether the article applies to a published embedding. Copies that others hold cannot be recalled.",
    ),
    (
        "AI Act (EU) Article 50(2), as secondary sources describe it",
        "Synthetic images are marked as such in a machine-readable form, and can be detected.",
        "Images that embhub generates carry IPTC metadata; most also a mark in their noise, found by embhub research"
        " detect.",
        "Whether the article applies. Metadata can be removed, and a mark is lost when an image is changed too much.",
    ),
    (
        "NIST SP 800-226 (differential privacy)",
        "A claim is evaluated with its unit, its parameters and everything that it does not cover.",
        "The claim, recomputed, its unit and its list of what it does not cover; or that there is none.",
        "That the training ran as claimed.",
    ),
    (
        "HIPAA, expert determination (45 CFR 164.514(b)(1))",
        "An expert finds the risk of identification very small and documents how.",
        "One input to it: figures with intervals, and the smallest leak that they could have detected.",
        "The expert's finding.",
    ),
)
"""Of each rule: where it stands, what it asks, what this pack has for it, and what it has not."""

TRIGGERS = (
    "A stronger attack on such embeddings is published or added to embhub's suites.",
    "Another embedding is trained on some of the same patients, released or not. Privacy losses add up.",
    "The base model changes, or a vulnerability in it becomes known.",
    "Any byte of the release, its card or its audit report changes.",
    "Twelve months have passed.",
)

AFTER_RELEASE = (
    "Find the affected releases. This site's record of the training lists the patients, under the digest on this page."
    " Its privacy ledger lists all trainings that a patient was in, under keyed IDs (embhub budget show).",
    "Yank the release: its publisher or the registry's operator marks it as yanked, with a reason (embhub-registry"
    " curate yank). Users who look for it are warned. Copies that were already pulled remain.",
    "Retrain without the person. Without a privacy claim, a new version can point to the person: the old file stays"
    " public, and the two differ by who objected. Change several patients at once, wait for the next regular version,"
    " train with a claim, or yank without a replacement.",
    "A trained embedding cannot be edited so that it forgets one person.",
)
