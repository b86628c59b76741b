"""Studies for tests: a plan of three sites with honest figures, its statements as sites sign them, and its record."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from embhub.artifact import base_identity
from embhub.artifact.embedding import Embedding
from embhub.cards import card
from embhub.privacy.claim import PrivacyClaim
from embhub.release import files as release_files
from embhub.release.checks import study
from embhub.release.files import Release
from embhub.site.signing.keys import SigningKey
from embhub.study import consents
from embhub.study.claims import claim_of
from embhub.study.plan import Study
from embhub.trust import bundle, statement
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import Role, Trust
from tests.support import claims, releases
from tests.support.releases import NOW, ORIGIN, SITE, make_key

SITES = ("lumc", "radboud", "umcu", "zuyderland")
OFFICERS = {site: make_key(f"officer of {site}") for site in SITES}
STUDY_KEYS = {site: make_key(f"study key of {site}") for site in SITES}
KEYS: list[tuple[str, SigningKey, Role]] = [
    ("radboud", SITE, "publish"), *((site, key, "approve") for site, key in OFFICERS.items()),
]  # fmt: skip


@cache
def plan(**changes: Any) -> Study:
    """A study of four sites, of which one may be missing, that radboud proposes for `releases.REPOSITORY`."""
    facts = {
        "base": base_identity.digest(releases.BASE), "base_name": "builtin", "sites": SITES, "dropouts": 1,
        "colluders": 0, "width": 256, "recipe": {"num_vectors": 8, "learning_rate": 0.005},
        "preprocessing": {"fit": "pad", "resolution": 512},
    }  # fmt: skip
    return claims.make_study(**{**facts, **changes})


def claim(**changes: Any) -> PrivacyClaim:
    """The claim of its release."""
    return claim_of(plan(**changes), self_test=claims.SELF_TEST)


def embedding(of_study: Study | None = None, *, training: Mapping[str, Any] | None = None, **changes: Any) -> Embedding:
    """The file that a study led to, with the header that such a file has; `changes` make it another one's."""
    made = of_study or plan()
    facts = {
        "caption": made.caption, "steps": made.attempts, "batch_size": made.batch, "vectors": 8,
        "learning_rate": 0.005, "resolution": 512, "fit": "pad",
    }  # fmt: skip
    told = {"token": made.token, "privacy": claim_of(made, self_test=claims.SELF_TEST), **changes}
    return releases.make_embedding(training={**facts, **(training or {})}, **told)


def unsigned_release(of_study: Study | None = None, *, artifact: Embedding | None = None, **changes: Any) -> Release:
    """The embedding and the card of its release; `changes` go to the card."""
    artifact = artifact or embedding(of_study)
    drafted = releases.make_card(artifact, n_patients=123, n_images=250, max_images_per_patient=3)
    described = card.parse({**drafted, **changes})
    return Release.from_files(
        {release_files.EMBEDDING: artifact.data, release_files.CARD: card.to_readme(described)}
    )  # fmt: skip


def release(
    *, consenting: Collection[str] = SITES, artifact: Embedding | None = None, **changes: Any
) -> Release:  # fmt: skip
    """A signed release of the study with its record; with another file than the study's where one is given."""
    made = unsigned_release(artifact=artifact, **changes)
    return claims.sign(
        {**made.files, release_files.STUDY: record(made.embedding.digest, consenting=consenting)}
    )  # fmt: skip


def trust(*revoked: Mapping[str, str], keys: Collection[tuple[str, SigningKey, Role]] = KEYS) -> Trust:
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


def consent(site: str, file: str, *, key: SigningKey | None = None) -> bytes:
    return consents.sign(plan().digest, site, file, key=key or STUDY_KEYS[site])


def record(file: str, *, consenting: Collection[str] = SITES, **changes: Any) -> bytes:
    """The record of a study whose sites consented to this file; `changes` go to the document."""
    joins = {site: join(site) for site in SITES}
    made = study.write_record(proposal(), joins, {site: consent(site, file) for site in consenting})
    return json.dumps({**json.loads(made), **changes}).encode()


def sent(found: Bundle) -> dict[str, Any]:
    """As it goes over the wire."""
    document: dict[str, Any] = json.loads(bundle.to_json(found.envelope))
    return document
