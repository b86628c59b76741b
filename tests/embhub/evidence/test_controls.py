"""The sheets for those who decide on an export: nothing is stated that nothing shows, and each gap is said."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.errors import UsageError
from embhub.evidence import controls, pack
from embhub.evidence.document import Ledger
from embhub.evidence.intake_document import Control, Intake
from embhub.evidence.intake_sheet import intake
from embhub.privacy.second_opinion import Bounds, compare
from embhub.release import files as release_files
from embhub.release.files import Release
from tests.support.claims import make_claim, make_private_release, site_total
from tests.support.packs import NOW
from tests.support.ports import make_ported_release
from tests.support.releases import AUDITOR, AUDITOR_BUNDLE, ROOT, make_export, make_release, make_sheet, resigned

BOUND, SECOND, TOTAL, ATTACKS, COPIES, OTHERS = (controls.CONTROLS[place].control for place in range(1, 7))

CONDITION = "only if the port's publisher learned from images generated with the source and from nothing else."


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site that trusts the registry's keyring and has no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBHUB_REGISTRY", "http://127.0.0.1:9")
    (tmp_path / "export.json").write_bytes(make_export())
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    return tmp_path


def listed(folder: Path, release: Release, standard: str = "satre") -> dict[str, Control]:
    """The sheet's controls by name, and its page beside them."""
    release.to_folder(folder / "pulled")
    made = intake.write_intake(str(folder / "pulled"), folder / "sheet", standards=[standard], now=NOW)
    assert Intake.parse((folder / "sheet" / "intake.json").read_bytes()) == made
    return {one.control: one for one in made.controls[standard]}


def page(folder: Path, standard: str = "satre") -> str:
    source = (folder / "sheet" / f"{standard}.html").read_text()
    assert not re.search(r"<(script|link|img|iframe|form)\b|\b(src|href)=", source)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", source)))


@pytest.mark.parametrize("standard", controls.STANDARDS)
@pytest.mark.parametrize("release", [make_release(sheet=make_sheet()), make_private_release(make_claim())])
def test_each_control_names_its_clause_its_files_who_can_check_and_what_is_missing(
    receiver: Path, standard: str, release: Release
) -> None:
    found = listed(receiver, release, standard)
    text = page(receiver, standard)
    assert {file.name: file.sha256 for one in found.values() for file in one.files}.items() <= {
        name: release_files.digest(data) for name, data in release.files.items()
    }.items()
    for one in found.values():
        assert one.clause and one.checked_by and one.missing and (one.done is not None or not one.files)
        parts = (one.control, one.clause, one.checked_by, one.missing, *(file.sha256 for file in one.files))
        assert all(part in text for part in (*parts, one.done or "Nothing here shows it."))
    assert f"Not legal advice. Statements about rules are as of {controls.AS_OF}" in text
    assert not re.search(r"anonym|compliant|complies|safe to", text, re.I)


def test_a_release_without_claim_and_without_audit_shows_gaps(receiver: Path) -> None:
    found = listed(receiver, make_release(audited=False))
    assert all(found[name].done is None for name in (BOUND, SECOND, TOTAL, ATTACKS, COPIES, OTHERS))
    assert "no epsilon is claimed" in found[BOUND].missing and "was not measured" in found[ATTACKS].missing
    assert "audit.json" not in {file.name for one in found.values() for file in one.files}
    text = page(receiver)
    assert text.count("Nothing here shows it.") == sum(one.done is None for one in found.values()) >= 6
    assert "records of this site" not in text and "No registry said whether" in text


def test_claim_audit_copy_check_and_countersignature_are_stated_where_they_are(receiver: Path) -> None:
    private = listed(receiver, make_private_release(make_claim()))
    assert (private[BOUND].done or "").startswith("Differential privacy, epsilon 2 at delta 1e-05 for each patient")
    plain = resigned(make_release(sheet=make_sheet()), audit_key=AUDITOR)
    found = listed(receiver, plain)
    assert plain.audit is not None and plain.audit.statement in (found[ATTACKS].done or "")
    assert "model inversion" in found[ATTACKS].missing
    assert "(2) found no copy" in (found[COPIES].done or "")
    assert (found[OTHERS].done or "").startswith("Audit countersigned by Nki")
    assert [file.name for file in found[OTHERS].files] == [AUDITOR_BUNDLE] and "second person" in found[OTHERS].missing


def test_the_claim_of_a_port_is_its_sources(receiver: Path) -> None:
    claim = make_claim(composition=site_total(make_claim().curve, trainings=12, plain=4))
    found = listed(receiver, make_ported_release(make_private_release(claim)))
    assert (found[BOUND].done or "").endswith(CONDITION) and "That training and port ran as stated" in found[
        BOUND
    ].missing
    total = found[TOTAL].done or ""
    assert total.startswith("The source's claim counts 12 private trainings at the source's site, ")


def test_what_this_site_recorded_is_quoted_and_said_to_be_its_own(
    receiver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = make_claim()
    opinion = compare(
        version="1.6.0", delta=claim.delta, epsilon=claim.epsilon, epsilon_rdp=claim.epsilon_rdp, rdp=2.1789,
        found=Bounds(lower=1.9802, upper=2.0196, eps_error=0.02, delta_error=1e-8),
    )  # fmt: skip
    monkeypatch.setattr(pack, "ask_ledger", lambda _: Ledger(trainings=2, epsilon=3.5))
    monkeypatch.setattr(pack, "find_second_opinion", lambda _: opinion)
    found = listed(receiver, make_private_release(claim))
    assert "in at most 2 trainings, epsilon 3.5 together" in (found[TOTAL].done or "")
    assert "between 1.9802 and 2.0196" in (found[SECOND].done or "")
    assert "This sheet quotes records of this site." in page(receiver)


def test_the_command_writes_both_sheets_beside_the_intake_and_replaces_them(
    receiver: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release().to_folder(receiver / "pulled")
    words = ["evidence", "pulled", "--out", "sheet"]
    for _ in range(2):
        assert main([*words, "--for", "satre", "--for", "ehds"]) == 0
    assert {path.name for path in Path("sheet").iterdir()} == {"index.html", "intake.json", "satre.html", "ehds.html"}
    assert "sheet/ehds.html" in capsys.readouterr().out
    assert main(words) == 0 and not Path("sheet/satre.html").exists()
    assert Intake.parse(Path("sheet/intake.json").read_bytes()).controls == {}
    assert main([*words, "--for", "nobody"]) == UsageError.exit_code
    with pytest.raises(UsageError, match="no controls are known for 'nobody'"):
        intake.write_intake("pulled", "sheet", standards=["nobody"])
