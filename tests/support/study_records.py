"""Studies for tests: a plan of three sites with honest figures, its statements as sites sign them, and its record."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from embhub.privacy.studies import StudyNoise, calibrate_share
from embhub.privacy.study_terms import StudyTerms
from embhub.release.checks import study
from embhub.site.signing.keys import SigningKey
from embhub.study import consents
from embhub.study.plan import Study
from embhub.trust import bundle, statement
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import Trust
from tests.support import releases
from tests.support.releases import NOW, ORIGIN, SITE, make_key

SITES = ("lumc", "radboud", "umcu")
OFFICERS = {site: make_key(f"officer of {site}") for site in SITES}
STUDY_KEYS = {site: make_key(f"study key of {site}") for site in SITES}
KEYS = [("radboud", SITE, "publish"), *((site, key, "approve") for site, key in OFFICERS.items())]
OF_STEPS: dict[str, Any] = {"dropouts": 1, "colluders": 0, "width": 256}
CLIP_UNITS, STEPS, BATCH, N_PUBLIC, DELTA = 1 << 16, 50, 16, 100, 1e-5


@cache
def _numbers() -> dict[str, Any]:
    share = calibrate_share(
        epsilon=4.0, delta=DELTA, q=BATCH / N_PUBLIC, steps=STEPS, sites=len(SITES), dropouts=OF_STEPS["dropouts"],
        clip_units=CLIP_UNITS,
    )  # fmt: skip
    noise = StudyNoise(
        sites=len(SITES), clip_units=CLIP_UNITS, share_variance=share, q=BATCH / N_PUBLIC, steps=STEPS, **OF_STEPS
    )
    return {
        "share_variance": share, "epsilon": noise.epsilon(noise.against_outsiders, delta=DELTA),
        "epsilon_against_sites": noise.epsilon(noise.against_sites, delta=DELTA),
    }  # fmt: skip


def plan(**changes: Any) -> Study:
    """A study of three sites, of which one may be missing, that radboud proposes."""
    facts: dict[str, Any] = {
        "repository": releases.REPOSITORY, "base": "b" * 64, "base_name": "builtin", "caption": "mri, {}",
        "token": "<cspca>", "frame": "f" * 64, "sites": SITES, **OF_STEPS, "n_public": N_PUBLIC, "batch": BATCH,
        "attempts": STEPS, "max_images_per_patient": 4, "noise_draws": 1, "clip": 1.0, "clip_units": CLIP_UNITS,
        "delta": DELTA, **_numbers(), "recipe": {"learning_rate": 0.005}, "preprocessing": {"size": 64},
        "round_seconds": 60, **changes,
    }  # fmt: skip
    return Study(**facts)


def trust(*revoked: Mapping[str, str], keys: Collection[tuple[str, SigningKey, str]] = KEYS) -> Trust:
    """A keyring with radboud's publishing key, and an officer's at each site."""
    names = sorted({name for name, _, _ in keys})
    members = [releases.member(name, [(key, role) for who, key, role in keys if who == name]) for name in names]
    return releases.make_trust(releases.make_keyring(members=members, revoked=list(revoked)))


def signed(made: statement.Statement, key: SigningKey) -> Bundle:
    return bundle.parse(bundle.to_json(statement.sign(made, key=key)))


def proposal(
    made: Study | None = None, *, key: SigningKey = SITE, registry: str = ORIGIN, created: datetime = NOW
) -> Bundle:
    return signed(study.propose(made or plan(), registry=registry, created=created), key)


def join(
    site: str, *, digest: str | None = None, key: SigningKey | None = None, of_study: SigningKey | None = None,
    registry: str = ORIGIN, created: datetime = NOW,
) -> Bundle:  # fmt: skip
    own = (of_study or STUDY_KEYS[site]).public
    made = study.join(digest or plan().digest, site, own, registry=registry, created=created)
    return signed(made, key or OFFICERS[site])


def withdrawal(
    site: str, *, digest: str | None = None, key: SigningKey | None = None, created: datetime = NOW
) -> Bundle:
    made = study.withdraw(digest or plan().digest, site, registry=ORIGIN, created=created)
    return signed(made, key or OFFICERS[site])


def consent(site: str, embedding: str, *, key: SigningKey | None = None) -> bytes:
    return consents.sign(plan().digest, site, embedding, key=key or STUDY_KEYS[site])


def record(embedding: str, *, consenting: Collection[str] = SITES, **changes: Any) -> bytes:
    """The record of a study whose sites consented to this file; `changes` go to the document."""
    joins = {site: join(site) for site in SITES}
    made = study.write_record(proposal(), joins, {site: consent(site, embedding) for site in consenting})
    return json.dumps({**json.loads(made), **changes}).encode()


def sent(found: Bundle) -> dict[str, Any]:
    """As it goes over the wire."""
    document: dict[str, Any] = json.loads(bundle.to_json(found.envelope))
    return document


def terms(made: Study | None = None, **changes: Any) -> StudyTerms:
    """What the claim of a study's release says of the study."""
    of = made or plan()
    noise = of.noise
    facts: dict[str, Any] = {
        "digest": of.digest, "sites": noise.sites, "dropouts": noise.dropouts, "colluders": noise.colluders,
        "clip_units": noise.clip_units, "share_variance": noise.share_variance, "width": noise.width,
        "epsilon_against_sites": of.epsilon_against_sites, **changes,
    }  # fmt: skip
    return StudyTerms(**facts)
