"""Manifests in Parquet: read as a CSV is, refused where a value could be two patients, bounded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embhub.__main__ import main
from embhub.errors import UsageError
from embhub.images import parquet_table
from embhub.images.images import read_images
from embhub.images.manifest import read_rows


def write(folder: Path, columns: dict[str, Any], name: str = parquet_table.NAME) -> Path:
    for number in range(4):
        Image.new("L", (32, 32), 10 + 40 * number).save(folder / f"{number}.png")
    pq.write_table(pa.table(columns), folder / name)
    return folder / name


PATHS = [f"{number}.png" for number in range(4)]


def test_a_folder_with_a_parquet_manifest(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "path": PATHS,
            "patient_id": pa.array([1, 1, 2, 3]),
            "label": pa.array(["a", "b", "a", "b"]).dictionary_encode(),
            "split": pa.array(["train", None, "", "holdout"]),
        },
    )
    images = read_images(tmp_path)
    assert [sample.patient_id for sample in images.samples] == ["1", "1", "2", "3"]
    assert [sample.label for sample in images.samples] == ["a", "b", "a", "b"]
    assert [sample.split for sample in images.samples] == ["train", "train", "train", "holdout"]
    assert len(read_images(tmp_path, where="label=a")) == 2


def test_a_csv_beside_it_comes_first(tmp_path: Path) -> None:
    write(tmp_path, {"path": PATHS})
    (tmp_path / "manifest.csv").write_text("path\n0.png\n")
    assert len(read_images(tmp_path)) == 1


def test_parquet_by_its_content_and_not_its_name(tmp_path: Path) -> None:
    assert len(read_images(write(tmp_path, {"path": PATHS}, "table.bin"))) == 4


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": PATHS, "patient_id": pa.array([1.0, 1.0, 2.0, None])}, "decimal point"),
        ({"path": PATHS, "PatientID": pa.array(["a"] * 4)}, "did you mean patient_id?"),
        ({"file": PATHS}, "did you mean path?"),
        ({"path": PATHS, "more": pa.array([[1]] * 4)}, "column 2"),
        ({"path": [*PATHS[:3], None]}, "row 5"),
        ({"path": PATHS, "label": ["x" * 20_000] * 4}, "more than 10,000"),
        ({"path": PATHS, " path": PATHS}, "a column twice"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_images(write(tmp_path, columns))
    assert words in str(caught.value)


def test_the_command_refuses_a_damaged_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, {"path": PATHS})
    file.write_bytes(file.read_bytes()[:-9])
    assert main(["inspect", str(file)]) == 2
    assert "not a Parquet file" in capsys.readouterr().out


def test_more_rows_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embhub.images.manifest.MAX_ROWS", 5000)
    file = write(tmp_path, {"path": ["0.png"] * 9000})
    with pytest.raises(UsageError, match="more than 5,000 rows"):
        read_rows(file)


def test_a_few_bytes_that_unfold_to_gigabytes_are_refused_before_they_do(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"path": pa.array(["x" * 1_000_000] * 50_000).dictionary_encode()}), buffer)
    assert len(buffer.getvalue()) < 2_000_000
    with pytest.raises(UsageError, match="more than 10,000"):
        parquet_table.read(buffer.getvalue(), rows=500_000)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, {"path": PATHS})
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError) as caught:
        read_rows(file)
    assert "[parquet]" in caught.value.hint


@given(st.lists(st.tuples(st.text(max_size=9), st.integers(0, 2**63), st.floats(allow_nan=False)), max_size=5))
def test_what_is_written_is_read(rows: list[tuple[str, int, float]]) -> None:
    columns = ("path", "seed", "guidance")
    data = parquet_table.write(columns, rows, {"seed": int, "guidance": float})
    names, found = parquet_table.read(data, rows=9)
    assert names == list(columns)
    assert found == [{"path": path, "seed": str(seed), "guidance": str(value)} for path, seed, value in rows]
    assert parquet_table.write(columns, rows, {"seed": int, "guidance": float}) == data


@given(st.data())
def test_damaged_bytes_are_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(parquet_table.write(("path", "label"), [(path, "a") for path in PATHS], {}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        parquet_table.read(bytes(whole), rows=9)
    except UsageError:
        return
