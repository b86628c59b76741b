"""Options that nobody meant and manifests that nobody wrote: refused in words, never with an unforeseen error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from embhub.__main__ import main
from embhub.errors import EmbhubError
from embhub.images.inspections.early_check import check_source
from tests.support.fuzzed_commands import CODES
from tests.support.quick import examples, quick


@pytest.mark.parametrize(
    "examples",
    [*quick([30], thorough=[120]), pytest.param(2500, marks=(pytest.mark.thorough, pytest.mark.exhaustive))],
)
def test_no_options_end_in_an_unforeseen_error(examples: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.fuzzed_commands", str(tmp_path), str(examples)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_fuzz_sees_an_unforeseen_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import fuzzed_commands

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("embhub.builtin_bases.shipped", fail)
    with pytest.raises(AssertionError, match="ended with 1"):
        fuzzed_commands.check(["base", "list"])


COLUMNS = st.sampled_from(
    ["path", "patient_id", "label", "split", "issuer", "PatientID", "path ", "", '"path"', "note", "PATH", "split,"]
)
CELLS = st.one_of(
    st.sampled_from(["0.png", "1.png", "../0.png", "/", ".", "", "p1", "train", "holdout", '"', "a\x00b", "\ufeff"]),
    st.text(max_size=8),
)  # fmt: skip
TABLES = st.builds(
    lambda separator, end, rows: end.join(separator.join(row) for row in rows),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.tuples(st.lists(COLUMNS, min_size=1, max_size=5), st.lists(CELLS, max_size=5), st.lists(CELLS, max_size=5)),
)
ENCODED = st.builds(
    lambda text, encoding: text.encode(encoding, "surrogatepass" if encoding.startswith("utf-8") else "replace"),
    TABLES, st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16"]),
)  # fmt: skip
MANIFESTS = st.one_of(ENCODED, st.binary(max_size=60), ENCODED.map(lambda data: data[: len(data) // 2]))
WHERE = st.one_of(
    st.none(), st.sampled_from(["label=a", "path=0.png", "=", "label", "split=test", "nosuch=x", "\x00="])
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    for number in range(2):
        Image.fromarray(np.full((64, 64), 90 * number, np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


@settings(max_examples=examples(120), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=MANIFESTS, where=WHERE)
def test_no_manifest_ends_in_an_unforeseen_error(
    folder: Path, capsys: pytest.CaptureFixture[str], data: bytes, where: str | None
) -> None:
    manifest = folder / "manifest.csv"
    manifest.write_bytes(data)
    words = ["inspect", str(manifest), *(["--where", where] if where else [])]
    code = main(words)
    said = capsys.readouterr()
    assert code in CODES and "Traceback" not in said.err + said.out
    try:
        check_source(manifest, where=where)
    except EmbhubError as error:
        assert code != 0, error  # what is refused early, `inspect` refuses as well
