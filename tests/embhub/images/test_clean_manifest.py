"""A folder and a table as they come: other names of columns, Excel's encoding, damaged files."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from embhub.__main__ import main
from embhub.errors import UsageError
from embhub.images.images import read_images
from embhub.images.manifests.columns import KNOWN, parse_columns
from embhub.images.readers import spreadsheet
from tests.support.quick import examples

COLUMNS = "path=Datei,patient_id=PatientenNr,label=Befund"


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Six films of three patients in a table of German Excel; one film is damaged, and one is not there."""
    for number in range(6):
        Image.effect_noise((96, 80), 40 + number).save(tmp_path / f"{number}.png")
    (tmp_path / "4.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (tmp_path / "5.png").unlink()
    rows = [f"{number}.png;Müller-{number // 2};{'Ergüsse' if number % 2 else 'ohne'};x" for number in range(6)]
    (tmp_path / "Liste.csv").write_bytes("\r\n".join(["Datei;PatientenNr;Befund;Größe", *rows, ""]).encode("cp1252"))
    return tmp_path


def test_what_can_be_read_is_listed_with_the_usual_columns(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = messy / "clean.csv"
    words = ["inspect", str(messy), "--manifest", str(messy / "Liste.csv"), "--columns", COLUMNS]
    assert main([*words, "--write-manifest", str(out)]) == 2, "two of the files are damaged or not there"
    said = capsys.readouterr()
    assert "wrote" in said.err and "4 of 6 images" in said.err and "Müller" not in said.out + said.err
    assert out.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(out.read_text("utf-8").splitlines()))
    assert rows[0] == {"path": "0.png", "patient_id": "Müller-0", "label": "ohne"} and len(rows) == 4
    found = read_images(messy, manifest=out)
    assert [(sample.patient_id, sample.label) for sample in found.samples] == [
        ("Müller-0", "ohne"), ("Müller-0", "Ergüsse"), ("Müller-1", "ohne"), ("Müller-1", "Ergüsse"),
    ]  # fmt: skip
    assert main([*words, "--write-manifest", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("rows", [["0.png,one,portable device", "1.png,two,"], ["1.png,two,"]])
def test_the_only_patient_with_a_caption_does_not_decide_whether_the_column_is_there(
    messy: Path, rows: list[str]
) -> None:
    """A header tells whether there is one, also beside a privacy claim."""
    (messy / "pacs.csv").write_text("\n".join(["path,patient_id,caption", *rows, ""]), encoding="utf-8")
    out = messy / "clean.csv"
    main(["inspect", str(messy), "--manifest", str(messy / "pacs.csv"), "--write-manifest", str(out)])
    assert out.read_text("utf-8").splitlines()[0] == "path,patient_id,caption"
    assert all(sample.caption is not None for sample in read_images(messy, manifest=out).samples)


def test_paths_are_those_from_the_manifest_that_is_written(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (messy / "lists").mkdir()
    out = messy / "lists/clean.csv"
    words = ["inspect", str(messy / "Liste.csv"), "--columns", COLUMNS, "--write-manifest", str(out), "--json"]
    assert main(words) == 2
    assert json.loads(capsys.readouterr().out)["images"]["readable"] == 4
    assert [sample.path.name for sample in read_images(out).samples] == ["0.png", "1.png", "2.png", "3.png"]


def test_a_folder_without_a_table(messy: Path) -> None:
    (messy / "Liste.csv").unlink()
    out = messy / "clean.csv"
    assert main(["inspect", str(messy), "--write-manifest", str(out)]) == 2
    assert out.read_text() == "path\n0.png\n1.png\n2.png\n3.png\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--columns", "path"], "names no columns"),
        (["--columns", "Datei=path"], "names no columns"),
        (["--columns", "path=Datei,path=Befund"], "names no columns"),
        (["--columns", "path=File"], "its columns are Datei, PatientenNr, Befund"),
        ([], "did you mean path?"),
    ],
)
def test_what_does_not_fit_the_table(
    messy: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (messy / "plain.csv").write_text((messy / "Liste.csv").read_bytes().decode("cp1252"), "utf-8")
    assert main(["inspect", str(messy), "--manifest", str(messy / "plain.csv"), *words]) == 2
    shown = capsys.readouterr()
    assert said in shown.out + shown.err


def test_another_encoding_alone_is_refused_with_two_ways_out(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(messy), "--manifest", str(messy / "Liste.csv")]) == 2
    assert "save it as CSV UTF-8" in capsys.readouterr().out


def workbook(rows: list[list[Any]], **book: Any) -> bytes:
    """A workbook as Excel saves it; `book` has further sheets."""
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is an extra of dev")
    made, stream = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        made.active.append(row)
    for name, others in book.items():
        sheet = made.create_sheet(name)
        for row in others:
            sheet.append(row)
    made.save(stream)
    return stream.getvalue()


def test_the_first_sheet_of_a_workbook_is_a_manifest(messy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[f"{number}.png", 7 + number // 2, "Ergüsse" if number % 2 else None] for number in range(6)]
    table = messy / "Liste.xlsx"
    table.write_bytes(workbook([["Datei", "PatientenNr", "Befund", None], *rows, [None] * 4], notes=[["path"], ["x"]]))
    words = ["inspect", str(messy), "--manifest", str(table)]
    assert main(words) == 2
    assert "did you mean" in capsys.readouterr().out
    assert main([*words, "--columns", COLUMNS, "--write-manifest", str(messy / "clean.csv")]) == 2
    assert "4 of 6 images" in capsys.readouterr().err
    found = read_images(messy, manifest=messy / "clean.csv")
    assert [(sample.patient_id, sample.label) for sample in found.samples][1:3] == [("7", "Ergüsse"), ("8", "")]
    named = messy / "named.xlsx"
    named.write_bytes(
        workbook([["path", "patient_id", "taken"], *([f"{n}.png", n / 2, date(2026, 1, 2)] for n in range(4))])
    )
    assert [sample.patient_id for sample in read_images(named).samples] == ["0", "0.5", "1", "1.5"]


def test_a_workbook_that_cannot_be_read_is_refused_in_words(messy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data, said in (
        ("old.xls", b"\xd0\xcf\x11\xe0" + bytes(600), "old format, or has a password"),
        ("a.xlsx", workbook([["path"], ["0.png"]])[:-200], "damaged, or no Excel workbook"),
        ("b.xlsx", b"PK\x03\x04" + bytes(60), "damaged, or no Excel workbook"),
    ):
        (messy / name).write_bytes(data)
        with pytest.raises(UsageError, match=said) as refused:
            read_images(messy, manifest=messy / name)
        assert "CSV UTF-8" in refused.value.hint
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UsageError, match="needs openpyxl") as refused:
        read_images(messy, manifest=messy / "b.xlsx")
    assert "[xlsx]" in refused.value.hint


@pytest.fixture(scope="module")
def sound() -> bytes:
    """One workbook for all examples: its length depends on the time that stands in it."""
    return workbook([["path", "patient_id"], ["0.png", "a"], ["1.png", 3]])


@given(data=st.data())
@settings(max_examples=examples(100), deadline=None)
def test_a_damaged_workbook_raises_only_our_error(sound: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        spreadsheet.to_csv(bytes(damaged), most_rows=10)
    except UsageError as error:
        assert error.hint


@given(st.dictionaries(st.sampled_from(KNOWN), st.text("abcÄ ", min_size=1, max_size=5), min_size=1))
def test_columns_that_are_written_are_read(columns: dict[str, str]) -> None:
    text = ",".join(f"{known}={own}" for known, own in columns.items())
    if all(own.strip() for own in columns.values()):
        assert parse_columns(text) == {known: own.strip() for known, own in columns.items()}
    else:
        with pytest.raises(UsageError):
            parse_columns(text)
