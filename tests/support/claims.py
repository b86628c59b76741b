"""Privacy claims for tests: small, real, recomputed like any other."""

from __future__ import annotations

import json
from typing import Any

import rfc8785

from embhub.artifact.embedding import Embedding
from embhub.cards import card
from embhub.formats import tensors
from embhub.privacy.calibration import calibrate_share
from embhub.privacy.claim import PrivacyClaim, build_claim
from embhub.privacy.composition import Composition, build_composition
from embhub.privacy.rdp import Curve, compose
from embhub.privacy.self_test import OwnWidth, SelfTest
from embhub.privacy.studies import StudyNoise
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.files import Release
from embhub.study.claims import claim_of
from embhub.study.plan import Study
from tests.support.releases import NOW, ORIGIN, REPOSITORY, SITE, make_card, make_embedding

SELF_TEST = SelfTest(
    passed=True, canaries=1000, dimension=8192, canary_epsilon=0.4, noise_p=0.3, sampling_p=0.6,
    own_width=OwnWidth(dimension=8, canary_epsilon=0.2, noise_p=0.4),
)  # fmt: skip
SELF_TEST_OF_ALL = SELF_TEST.model_copy(update={"sampling_p": None})


def make_claim(**changes: Any) -> PrivacyClaim:
    """Epsilon 2 for each of 100 patients or more: 500 steps at a rate of 0.1."""
    facts: dict[str, Any] = {
        "mechanism": "dp-sgd",
        "unit": "patient",
        "max_images_per_unit": 4,
        "n_public": 100,
        "batch": 10,
        "sigma": 4.578,
        "clip": 1.0,
        "steps": 500,
        "self_test": SELF_TEST,
    }
    facts |= changes
    if "self_test" not in changes and facts["batch"] == facts["n_public"]:
        facts["self_test"] = SELF_TEST_OF_ALL
    return build_claim(**facts)


def make_study(**changes: Any) -> Study:
    """Eight sites with 100 patients or more between them: epsilon 4, and more against one of the sites."""
    facts: dict[str, Any] = {
        "repository": REPOSITORY, "base": "ab" * 32, "base_name": "prostate-base", "caption": "prostate mri with {}",
        "token": "<cspca>", "frame": "cd" * 32, "sites": tuple(f"site-{letter}" for letter in "abcdefgh"),
        "dropouts": 1, "colluders": 1, "n_public": 100, "batch": 16, "attempts": 50, "max_images_per_patient": 4,
        "noise_draws": 4, "clip": 0.5, "clip_units": 1 << 16, "width": 1024, "delta": 1e-5, "recipe": {},
        "preprocessing": {}, "round_seconds": 60,
    } | changes  # fmt: skip
    q = facts["batch"] / facts["n_public"]
    if "share_variance" not in facts:
        facts["share_variance"] = calibrate_share(
            epsilon=4.0, delta=facts["delta"], q=q, steps=facts["attempts"], sites=len(facts["sites"]),
            dropouts=facts["dropouts"], clip_units=facts["clip_units"],
        )  # fmt: skip
    noise = StudyNoise(
        sites=len(facts["sites"]), q=q, steps=facts["attempts"],
        **{name: facts[name] for name in ("dropouts", "colluders", "clip_units", "share_variance", "width")},
    )  # fmt: skip
    facts.setdefault("epsilon", noise.epsilon(noise.against_outsiders, delta=facts["delta"]))
    facts.setdefault("epsilon_against_sites", noise.epsilon(noise.against_sites, delta=facts["delta"]))
    return Study(**facts)


def make_study_claim(**changes: Any) -> PrivacyClaim:
    """The claim of `make_study`."""
    study = make_study(**changes)
    return claim_of(study, self_test=SELF_TEST_OF_ALL if study.batch == study.n_public else SELF_TEST)


def site_total(*others: Curve, plain: int = 0, trainings: int | None = None, **facts: str) -> Composition:
    """What the ledger of a site states that trained `make_claim()` and, besides, trainings of these curves."""
    days = {"since": "2026-01-02", "as_of": "2026-11-20"} | facts
    own, curve = make_claim(), compose([make_claim().curve, *others])
    return build_composition(
        trainings=trainings or len(others) + 1, plain=plain, curve=curve, delta=1e-5,
        mechanisms=None if others else own.parameters, **days,
    )  # fmt: skip


def make_private_release(claim: PrivacyClaim | None = None, **changes: Any) -> Release:
    """A signed release with a claim, its card as `card init` drafts it."""
    return sign(private_files(claim, **changes))


def private_files(claim: PrivacyClaim | None = None, **changes: Any) -> dict[str, bytes]:
    """Embedding and card of a release with a claim, not signed yet; `changes` go to the card."""
    artifact = make_embedding(privacy=claim or make_claim())
    drafted = make_card(artifact, n_patients=123, n_images=250, max_images_per_patient=3)
    described = card.parse({**drafted, **changes})
    return {release_files.EMBEDDING: artifact.data, release_files.CARD: card.to_readme(described)}


def sign(files: dict[str, bytes]) -> Release:
    """Sign as a site does, with all its checks."""
    return signing.sign(Release.from_files(files), registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW)


def with_header_claim(artifact: Embedding, text: str) -> bytes:
    """The file with another text as its claim, as somebody with an editor for bytes would make it."""
    file = tensors.parse(artifact.data)
    arrays = {name: tensor.values for name, tensor in file.tensors.items()}
    return tensors.serialize(arrays, {**file.metadata, "embhub.privacy": text})


def altered(claim: PrivacyClaim, **members: Any) -> str:
    """A claim's canonical text with other members: what no model would build."""
    return rfc8785.dumps({**json.loads(claim.to_text()), **members}).decode()
