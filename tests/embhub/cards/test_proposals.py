"""Modality, view and body part are proposed from caption and base, and no patient changes anything in a draft."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.builtin_bases import GENERATES
from embhub.cards import card_draft
from embhub.cards.answers import read, write
from embhub.cards.proposals import propose
from embhub.diffusion.outputs import draft_card, open_card, read_answers
from embhub.formats import safe_yaml
from embhub.images.readers.view import Channel, View
from embhub.site.memory import runs
from tests.support import medical
from tests.support.claims import make_claim
from tests.support.quick import examples
from tests.support.releases import make_embedding

FILM = "frontal chest x-ray, {}"
THORAX = [{"system": "RadLex", "code": "RID1243", "display": "thorax"}]
PROSTATE = [{"system": "RadLex", "code": "RID343", "display": "prostate"}]
COUNTS = ("n_patients", "n_images", "max_images_per_patient")


@pytest.mark.parametrize(
    ("caption", "base", "said"),
    [
        (FILM, "builtin-xray", {"modality": ["CR", "DX"], "view": "frontal", "anatomy": THORAX}),
        ("an image of {}", "builtin-xray", {"modality": ["CR", "DX", "RG"], "view": "frontal", "anatomy": THORAX}),
        ("axial T2w prostate MRI, {}", "builtin", {"modality": ["MR"], "view": "axial", "anatomy": PROSTATE}),
        ("frontal and lateral x-ray of a thorax, {}", "", {"modality": ["CR", "DX"], "anatomy": THORAX}),
        ("PET-CT, {}", "owner/name", {"modality": ["PT", "CT"]}),
        ("an octopus in a mirror, {}", "builtin", {}),
    ],
)
def test_the_caption_says_it_else_the_base(caption: str, base: str, said: dict[str, Any]) -> None:
    found = propose(caption, GENERATES.get(base))
    assert found == said
    for name, value in found.items():
        assert read(name, write(name, value) or "") == value


KINDS = [("CR", "CHEST", "PA"), ("DX", "CHEST", ""), ("CT", "HEAD", "AXIAL"), ("MR", "PROSTATE", ""), ("OT", "", "")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A site with an image of each kind."""
    folder = tmp_path_factory.mktemp("site")
    for number, (modality, part, view) in enumerate(KINDS):
        said = {"Modality": modality, "BodyPartExamined": part, "ViewPosition": view, "PatientID": f"P{number}"}
        (folder / f"{number}.dcm").write_bytes(medical.to_bytes(medical.dataset(np.zeros((8, 8), "uint16"), **said)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(folder / "home"))
        yield folder


@cache
def trained(caption: str, base: str, private: bool) -> Embedding:
    return embedding.build(
        {"emb_params": np.full((2, 128), 0.5)}, token="<a>", base=None, base_name=base,
        training={"caption": caption}, privacy=make_claim() if private else "none",
    )  # fmt: skip


def drafted(site: Path, artifact: Embedding, members: list[tuple[int, int]]) -> tuple[bytes, dict[str, Any], Any]:
    """A card's bytes and fields, and what is asked and proposed, for a training on these: kinds, and patients."""
    file = site / "a.safetensors"
    file.write_bytes(artifact.data)
    samples = tuple(runs.Sample(path=str(site / f"{kind}.dcm"), patient_id=f"P{who}") for kind, who in members)
    facts = {"base": artifact.base_name, "caption": str(artifact.training["caption"]), "token": "<a>", "vectors": 2}
    runs.save(runs.Run(embedding_digest=artifact.digest, members=samples, **facts))
    found = draft_card(file, force=True)
    fields = {name: value for name, value in read_answers(found.path).items() if name not in COUNTS}
    return found.path.read_bytes(), fields, (found.questions, found.proposed, open_card(found.path).proposed)


IMAGES = st.tuples(st.integers(0, len(KINDS) - 1), st.integers(0, 3))


@given(
    caption=st.sampled_from([FILM, "an image of {}", "axial prostate mri, {}"]),
    base=st.sampled_from(sorted(GENERATES)), private=st.booleans(),
    members=st.lists(IMAGES, min_size=1, max_size=4), one=st.lists(IMAGES, min_size=1, max_size=2),
)  # fmt: skip
@settings(max_examples=examples(60), deadline=None)
def test_no_patient_changes_anything_in_a_draft(
    site: Path, caption: str, base: str, members: list[tuple[int, int]], one: list[tuple[int, int]], private: bool
) -> None:
    """What a draft proposes is published by whoever agrees; only a plain training's counts are of its patients."""
    artifact = trained(caption, base, private)
    (whole, fields, asked), (more, fields_of_more, asked_of_more) = (
        drafted(site, artifact, who) for who in (members, [*members, *((kind, 9) for kind, _ in one)])
    )
    assert (fields, asked) == (fields_of_more, asked_of_more)
    assert whole == more or not private
    assert "modality" not in fields, "a person has not agreed yet"


@pytest.mark.parametrize("private", [True, False])
def test_a_patient_with_other_series_changes_no_draft_beside_a_claim(site: Path, private: bool) -> None:
    """Which series are which colour is read from the record of the training: one patient may differ."""
    artifact, file = trained("prostate mri, {}", "builtin", private), site / "a.safetensors"
    file.write_bytes(artifact.data)
    common, other = (View(name="T2", channels=(Channel(name, (("y", 0),)),)).to_text() for name in ("ADC", "PET"))
    facts = {"base": "builtin", "caption": "prostate mri, {}", "token": "<a>", "vectors": 2}
    written = []
    for views in ([common] * 12, [*[common] * 12, other]):
        samples = tuple(runs.Sample(path="x", patient_id=f"P{n}", view=view) for n, view in enumerate(views))
        runs.save(runs.Run(embedding_digest=artifact.digest, members=samples, **facts))
        written.append(draft_card(file, force=True).path.read_bytes())
    assert (written[0] == written[1]) is private and not re.search(rb"\d of \d", b"".join(written))
    assert (b"T2" in written[0]) is not private


def test_words_on_the_images_of_an_earlier_plain_file_do_not_stay_beside_a_claim(site: Path) -> None:
    drafted(site, trained(FILM, "builtin", False), [(0, 1)])
    card = site / "a.card.yaml"
    card.write_text(card.read_text().replace("values scaled", "in 136 of 137 images T2 is red, values scaled"))
    (site / "a.safetensors").write_bytes(trained(FILM, "builtin", True).data)
    draft_card(site / "a.safetensors")
    assert "of 137 images" not in card.read_text() and "values scaled" in card.read_text()


@pytest.mark.parametrize(
    ("members", "said"), [(1, "1-4"), (4, "1-4"), (5, "5-9"), (24, "20-24"), (25, "25-29"), (100, "100-104")]
)
def test_a_draft_counts_in_fives_as_an_audit_report_does(site: Path, members: int, said: str) -> None:
    """An exact count would reveal the last patient to whoever knows all others."""
    written, _, _ = drafted(site, trained(FILM, "builtin", False), [(0, number) for number in range(members)])
    values = safe_yaml.load(written)
    assert tuple(values[name] for name in COUNTS) == (said, said, "1-4")
    twice, _, _ = drafted(site, trained(FILM, "builtin", False), [(kind, 0) for kind in (0, 1)] * 12)
    values = safe_yaml.load(twice)
    assert (values["n_patients"], values["n_images"], values["max_images_per_patient"]) == ("1-4", "20-24", "20-24")


def test_an_image_more_of_the_patient_with_most_changes_no_draft(site: Path) -> None:
    others = [(0, 1), (0, 2), (0, 2), *[(0, 3)] * 4]
    six, seven = (drafted(site, trained(FILM, "builtin", False), others + [(1, 0)] * most)[0] for most in (6, 7))
    assert six == seven
    assert safe_yaml.load(seven)["max_images_per_patient"] == "5-9"


def test_beside_a_claim_for_images_no_count_is_drafted(site: Path) -> None:
    """Each image is then a unit of its own in the record of the training: their number would be the exact one."""
    claim = make_claim(unit="image", max_images_per_unit=1)
    artifact = embedding.build(
        {"emb_params": np.full((2, 128), 0.5)}, token="<a>", base=None, base_name="builtin",
        training={"caption": FILM}, privacy=claim,
    )  # fmt: skip
    _, _, (questions, _, _) = drafted(site, artifact, [(0, number) for number in range(123)])
    told = read_answers(site / "a.card.yaml")
    assert told["n_images"] == claim.n_public
    assert not {"n_patients", "max_images_per_patient"} & set(told)
    assert any(question.startswith("n_patients:") for question in questions)


def test_counts_of_an_earlier_training_do_not_stay_beside_a_claim_for_images() -> None:
    """A plain training of the same file drafts its patients in fives: the last image may decide in which five."""
    claim = make_claim(unit="image", max_images_per_unit=1)
    artifact = make_embedding(privacy=claim)
    earlier = {"n_patients": "40-44", "n_images": "120-124", "max_images_per_patient": "1-4"}
    values, questions = card_draft.draft(artifact, defaults=earlier, facts={})
    assert values["n_images"] == claim.n_public
    assert {"n_patients", "max_images_per_patient"} <= {question.partition(":")[0] for question in questions}
    declared = {"n_patients": "1-50", "max_images_per_patient": "1-10"}
    values, _ = card_draft.draft(artifact, defaults=earlier | declared, facts={})
    assert {name: values[name] for name in declared} == declared
    values, _ = card_draft.draft(make_embedding(privacy=make_claim()), defaults=earlier, facts={})
    assert values["n_images"] == "100-500" and values["n_patients"] == 100


def test_a_draft_says_beside_an_open_field_what_may_be_copied(site: Path) -> None:
    written, _, _ = drafted(site, trained(FILM, "builtin-xray", False), [(2, 0)])
    for name, said in (("modality", '["CR", "DX"]'), ("view", '"frontal"')):
        assert f"# Caption and base say, for you to check: {said}\n{name}:\n" in written.decode()
