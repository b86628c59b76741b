"""A site's answers to questions of one release stay open until a person confirms them."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.cards import card_draft
from embhub.cards.card import BadCardError, parse_yaml
from embhub.formats import safe_yaml
from tests.support.releases import make_card, make_embedding

SITE = """\
site:
  publisher: Example Hospital
  legal_basis: none needed, drawn images
  consent_or_waiver: not applicable
  ethics_ref: not applicable
  deidentification: {profile: [not-dicom], pixel_review: not-needed}
"""
NAMES = ["legal_basis", "consent_or_waiver", "ethics_ref", "deidentification.pixel_review"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An embedding in a site that answers for all its releases at once."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EMBHUB_REGISTRY", "https://hub.example.org")
    (tmp_path / "home/config").mkdir(parents=True, mode=0o700)
    (tmp_path / "home/config/config.yaml").write_text(SITE)
    path = tmp_path / "cspca.safetensors"
    path.write_bytes(make_embedding().data)
    return path


def kept(file: Path) -> dict[str, object]:
    return dict(safe_yaml.load(file.with_name("cspca.card.yaml").read_bytes()))


def test_a_draft_lists_the_sites_answers_to_confirm(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", "init", str(file)]) == 0
    said = capsys.readouterr()
    assert "to confirm" in said.out and all(f"confirm: {name}" in said.err for name in NAMES)
    assert kept(file)["confirm"] == NAMES
    assert "publisher" not in str(kept(file)["confirm"])


def test_a_card_with_open_confirmations_is_not_complete(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = card_draft.write_draft(make_card(make_embedding()), [])
    target = file.with_name("cspca.card.yaml")
    target.write_bytes(whole + b"confirm: [legal_basis, deidentification.pixel_review]\n")
    assert main(["card", "check", str(target)]) == 3
    said = capsys.readouterr().err
    assert "legal_basis: to confirm" in said and "deidentification.pixel_review: to confirm" in said
    assert main(["key", "new"]) == 0
    assert main(["sign", str(file), "radboud/cspca"]) == 3
    assert "legal_basis: to confirm" in capsys.readouterr().err
    target.write_bytes(whole + b"confirm: []\n")
    assert main(["card", "check", str(target)]) == 0


def test_a_card_that_names_a_person_is_refused_before_anything_is_signed(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = file.with_name("cspca.card.yaml")
    target.write_bytes(card_draft.write_draft(make_card(make_embedding(), limitations="Ask Jane Smith."), []))
    assert main(["card", "check", str(target)]) == 6
    said = capsys.readouterr().err
    assert "a person's name in limitations" in said and "Smith" not in said


def test_what_the_cards_own_file_says_counts_as_confirmed(file: Path) -> None:
    main(["card", "init", str(file)])
    target = file.with_name("cspca.card.yaml")
    values = kept(file)
    values["confirm"] = ["ethics_ref", "consent_or_waiver"]
    values["consent_or_waiver"] = "broad consent of the hospital"  # answered for this release, and left on the list
    target.write_bytes(safe_yaml.dump(values))
    assert main(["card", "init", str(file)]) == 0
    assert kept(file)["confirm"] == ["ethics_ref"]
    assert kept(file)["consent_or_waiver"] == "broad consent of the hospital"
    assert main(["card", "init", str(file), "--force"]) == 0
    assert kept(file)["confirm"] == NAMES


def test_a_site_without_such_answers_has_nothing_to_confirm(file: Path, tmp_path: Path) -> None:
    (tmp_path / "home/config/config.yaml").write_text("site: {publisher: Example Hospital}\n")
    assert main(["card", "init", str(file)]) == 0
    assert "confirm" not in kept(file)
    assert main(["card", "init", str(file)]) == 0
    assert "confirm" not in kept(file)


@pytest.mark.parametrize("listed", ["legal_basis", "{a: b}", "[1]", "[[]]", "true"])
def test_a_malformed_list_is_refused(listed: str) -> None:
    data = card_draft.write_draft(make_card(make_embedding()), []) + f"confirm: {listed}\n".encode()
    with pytest.raises(BadCardError, match="confirm: must be a list"):
        parse_yaml(data)


def test_open_confirmations_are_said_together_with_other_problems() -> None:
    with pytest.raises(BadCardError) as caught:
        parse_yaml(b"name: x\nconfirm: [legal_basis]\n")
    assert any(problem.startswith("legal_basis: to confirm") for problem in caught.value.problems)
    assert any(problem.startswith("version is missing") for problem in caught.value.problems)
