"""A registry with one release of every kind that a page can show; real releases, pushed over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi

from embhub.artifact.embedding import Embedding
from embhub.audits.report import AuditReport, Claimed, Design, build
from embhub.cards import card
from embhub.privacy import claim as privacy
from embhub.privacy import rdp
from embhub.privacy.composition import build_composition
from embhub.privacy.mechanisms import Mechanism
from embhub.privacy.self_test import OwnWidth, SelfTest
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.checks.consistency import base_digest
from embhub.release.files import Release
from embhub.site.signing.keys import SigningKey
from embhub.trust.statement import LedgerHeads
from tests.support import base_reports, releases
from tests.support.servers import RunningRegistry, start_registry

SECRET = "radboud/trial-of-nobodys-business"
SECRET_WORDS = ("nobodys-business", "unheard-of lesion", "embargoed organ", "secret-base")


@dataclass(frozen=True)
class Showroom:
    """A registry, and the tokens of a publisher of radboud and of one of lumc."""

    registry: RunningRegistry
    alice: str
    lea: str

    def push(self, repository: str, release: Release, *, private: bool = False) -> None:
        """Create the repository and publish in it, as its namespace's publisher."""
        token = self.lea if repository.startswith("lumc/") else self.alice
        api = HfApi(endpoint=self.registry.url, token=token)
        api.create_repo(repository, private=private, exist_ok=True)
        additions = [CommitOperationAdd(path, data) for path, data in release.files.items()]
        api.create_commit(repository, additions, commit_message=f"Publish {release.card.version}")


SHEET = releases.make_sheet(size=(514, 256))


def furnish(folder: Path, *, name: str = "Prostate consortium") -> Showroom:
    """Audited, leaking, unaudited, differentially private, private and empty; several versions of one."""
    registry = start_registry(folder, name=name)
    registry.add_key(releases.SITE, namespace="radboud")
    registry.add_key(releases.WITHDRAWER, namespace="radboud", role="withdraw")
    registry.add_key(releases.OTHER_SITE, namespace="lumc")
    registry.add_key(releases.AUDITOR, namespace="nki", role="audit")
    room = Showroom(
        registry,
        alice=registry.add_user("alice", namespace="radboud"),
        lea=registry.add_user("lea", namespace="lumc"),
    )
    for token, key in ((room.alice, releases.SITE), (room.lea, releases.OTHER_SITE)):
        base_reports.publish(registry, token=token, key=key)
    slow = {"device": "NVIDIA GeForce RTX 3060", "precision": "bfloat16", "peak_bytes": 11_800_000_000}
    base_reports.publish(
        registry, "learns", token=room.lea, key=releases.OTHER_SITE, fingerprint="e" * 64, machine=slow
    )
    room.push("radboud/prostate-cspca", make_release("radboud/prostate-cspca", seed=0, heads=heads(1)))
    room.push(
        "lumc/xray-pneumonia",
        make_release(
            "lumc/xray-pneumonia", seed=4, token="<pneumonia>", key=releases.OTHER_SITE, audited=False,
            name="xray-pneumonia", publisher="Leiden University Medical Center", modality=["DX"], sequence=None,
            view="AP", description="Frontal chest radiographs of adults with an opacity in a lower lobe.",
            anatomy=[code("RID1301", "lung")], finding=[code("RID5350", "pneumonia")],
        ),
    )  # fmt: skip
    room.push(
        "radboud/brain-wmh",
        make_release(
            "radboud/brain-wmh", seed=5, token="<wmh>", shift=1.5, name="brain-wmh", sequence="FLAIR",
            description="White matter hyperintensities on axial FLAIR, of a memory clinic's patients over 60.",
            anatomy=[code("RID6434", "brain")], finding=[code("RID39063", "white matter hyperintensity")],
        ),
    )  # fmt: skip
    room.push(
        "lumc/knee-effusion",
        make_release(
            "lumc/knee-effusion", seed=6, token="<effusion>", key=releases.OTHER_SITE, claim=make_claim(), sheet=True,
            name="knee-effusion", publisher="Leiden University Medical Center", description="Joint effusion of the"
            " knee on sagittal proton-density MRI, trained with differential privacy for each patient.",
            n_patients="400-500", n_images="400-900", max_images_per_patient=2,
            anatomy=[code("RID2743", "knee")], finding=[code("RID4872", "effusion")],
        ),
    )  # fmt: skip
    room.push(
        SECRET,
        make_release(
            SECRET, seed=7, token="<hush>", audited=False, name="trial-of-nobodys-business",
            description="An unheard-of lesion.", anatomy=[local("embargoed organ")],
            finding=[local("unheard-of lesion")], base="secret-base", modality=["SM"],
        ),
        private=True,
    )  # fmt: skip
    HfApi(endpoint=registry.url, token=room.alice).create_repo("radboud/planned")
    newer = make_release("radboud/prostate-cspca", seed=3, version="1.1.0", sheet=True, heads=heads(3))
    room.push("radboud/prostate-cspca", newer)
    return room


def heads(number: int, *, ledger: str = "a ledger") -> LedgerHeads:
    """What release `number` shows of its site's ledger, with all heads before it."""
    shown = tuple(release_files.digest(f"{ledger} {place}".encode()) for place in range(1, number + 1))
    return LedgerHeads(id=release_files.digest(ledger.encode()), number=number, heads=shown)


def make_claim() -> privacy.PrivacyClaim:
    """Epsilon about 4 for each patient, by DP-SGD."""
    test = SelfTest(
        passed=True, canaries=1000, dimension=8192, canary_epsilon=0.4, noise_p=0.5, sampling_p=0.5,
        own_width=OwnWidth(dimension=8, canary_epsilon=0.3, noise_p=0.5),
    )  # fmt: skip
    curve = rdp.gaussian_curve(q=0.1, sigma=3.0, steps=900)
    composition = build_composition(
        since="2026-01-02", as_of="2026-11-20", trainings=2, plain=0, curve=curve, delta=privacy.DEFAULT_DELTA,
        mechanisms=[Mechanism(0.1, 3.0, 900)],
    )  # fmt: skip
    return privacy.build_claim(
        mechanism="dp-sgd", unit="patient", max_images_per_unit=2, n_public=400, batch=40, sigma=3.0, clip=1.0,
        steps=600, self_test=test, composition=composition,
    )  # fmt: skip


def code(identity: str, display: str) -> dict[str, str]:
    """A RadLex code of a card."""
    return {"system": "RadLex", "code": identity, "display": display}


def local(display: str) -> dict[str, str]:
    """A code of a site's own."""
    return {"system": "local", "code": display.replace(" ", "-"), "display": display}


def make_release(
    repository: str, *, seed: int, token: str = "<cspca>", shift: float = 0.0, audited: bool = True,
    key: SigningKey = releases.SITE, claim: privacy.Claim = "none", base: str = "builtin", sheet: bool = False,
    heads: LedgerHeads | None = None, **changes: Any,
) -> Release:  # fmt: skip
    """A signed release, `sheet` with samples, showing `heads` of a ledger.

    `changes` go to its card, None takes a field out of it.
    """
    embedded = _embedding(seed=seed, token=token, claim=claim, base=base)
    if sheet:
        verdict = "no-copies-found" if claim == "none" else "not-run"
        changes["samples"] = releases.record_of(SHEET, embedded, copy_check=verdict)
    report = _audit(embedded, shift=shift, claim=claim) if audited else None
    known = releases.make_card(embedded, report=report, **changes)
    files = {
        release_files.EMBEDDING: embedded.data,
        release_files.CARD: card.to_readme(
            card.parse({name: value for name, value in known.items() if value is not None})
        ),
    }
    if report is not None:
        files[release_files.AUDIT] = report.to_bytes()
    if sheet:
        files[release_files.SAMPLES] = SHEET
    return signing.sign(
        Release.from_files(files), registry=releases.ORIGIN, repository=repository, key=key, now=releases.NOW,
        ledger=lambda *_: heads,
    )  # fmt: skip


def _audit(embedded: Embedding, *, shift: float, claim: privacy.Claim) -> AuditReport:
    """Scores of patients, or, beside a privacy claim that these would break, of made-up canaries."""
    if not isinstance(claim, privacy.PrivacyClaim):
        return releases.make_report(embedded, shift=shift)
    chance = releases.np.random.default_rng(1)
    return build(
        artifact_digest=embedded.digest, base_digest=base_digest(embedded), suite="mechanism", unit="canary",
        scores={"mechanism-canaries": (chance.normal(size=100).tolist(), chance.normal(size=100).tolist())},
        claim=Claimed(epsilon=claim.epsilon, delta=claim.delta), design=Design(subject="mechanism"),
    )  # fmt: skip


def _embedding(*, seed: int, token: str, claim: privacy.Claim, base: str) -> Embedding:
    from embhub.artifact import embedding

    rows = releases.np.random.default_rng(seed).normal(size=(8, 32)) * 0.05
    training = {"steps": 200, "learning_rate": 0.005}
    return embedding.build(
        {"emb_params": rows}, token=token, base=releases.BASE, base_name=base, training=training, privacy=claim
    )
