"""Pickles made to harm: nothing runs, nothing fills the memory, and only our own error comes out."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.diffusion.foreign import pickles
from embhub.diffusion.foreign.contents import find
from embhub.diffusion.foreign.importing import import_file
from embhub.errors import ArtifactError
from tests.support.quick import examples

ROWS = torch.randn(2, 768, generator=torch.Generator().manual_seed(0))


def saved(content: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **how)
    return stream.getvalue()


def archive(program: bytes, **members: bytes) -> bytes:
    """A .pt whose pickle is `program`."""
    return pickles.pack({"archive/data.pkl": program, "archive/version": b"3\n", **members})


def legacy(program: bytes) -> bytes:
    """torch's older format: magic number, version, system, the pickle, storage keys."""
    start = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    return b"".join(pickle.dumps(part, 2) for part in start) + program + pickle.dumps([], 2)


BYTEARRAY = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05" + (10**11).to_bytes(5, "little") + b"\x85R."
DOUBLING = b"\x80\x02" + b"c_codecs\nencode\n" * 40 + b"X\x01\x00\x00\x00x" + b"X\x03\x00\x00\x00hex\x86R" * 40 + b"."
STORAGE = (
    b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu\x8a\x05"
    + (10**11).to_bytes(5, "little")
    + b"tQ."
)
HOSTILE = {"bytearray": BYTEARRAY, "doubling": DOUBLING, "storage": STORAGE, "system": b"cos\nsystem\n(S'true'\ntR."}


@pytest.mark.parametrize("wrap", [archive, legacy], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_programs_that_ask_for_more_than_tensors_are_refused_before_they_run(kind: str, wrap: Any) -> None:
    with pytest.raises(ArtifactError, match=r"more than tensors|no embedding needs it"):
        pickles.load(wrap(HOSTILE[kind]), "x.pt")


def original(content: torch.Tensor = ROWS) -> bytes:
    """As the original Textual Inversion program saves: a module that holds the vectors."""
    held = torch.nn.ParameterDict({"*": torch.nn.Parameter(content)})
    return saved({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": held})


def test_the_original_programs_module_is_read_and_never_built(monkeypatch: pytest.MonkeyPatch) -> None:
    data = original()

    def built(*_: Any) -> None:
        raise AssertionError("a module was built")

    for method in ("__init__", "__setstate__"):
        monkeypatch.setattr(torch.nn.ParameterDict, method, built, raising=False)
    found = find(pickles.load(data, "x.pt"))
    assert torch.equal(found.unnamed[0], ROWS) and len(found.unnamed) == 1
    assert found.facts == {"source_format": "textual inversion"}


def test_such_a_module_opens_the_way_to_no_other_name() -> None:
    members = pickles.unpack(original())
    (name,) = [member for member in members if member.endswith("data.pkl")]
    for program in (
        members[name].replace(b"c__builtin__\nset\n", b"c__builtin__\neval\n"),
        members[name][:-1] + b"0cos\nsystem\n.",
        members[name].replace(b"ctorch.nn.modules.container\n", b"ctorch.nn.modules.linear\n"),
    ):
        assert program != members[name]
        with pytest.raises(ArtifactError, match="more than tensors"):
            pickles.load(pickles.pack({**members, name: program}), "x.pt")
    with pytest.raises(ArtifactError, match="more than tensors"):
        pickles.load(archive(b"\x80\x02c__builtin__\nset\n]\x85R."), "x.pt")


def test_the_bombs_are_real() -> None:
    """torch's own restricted reader would have run them: here with sizes that do no harm."""
    small = BYTEARRAY.replace((10**11).to_bytes(5, "little"), (10**6).to_bytes(5, "little"))
    assert len(torch.load(io.BytesIO(archive(small)), weights_only=True)) == 10**6
    twice = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x06\x00\x00\x00latin1\x86R."
    assert torch.load(io.BytesIO(archive(twice)), weights_only=True) == b"x"


def test_an_archive_that_unfolds_is_refused_by_its_members(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("archive/data.pkl", pickle.dumps({}, 2))
        packed.writestr("archive/data/0", bytes(300_000_000))
    (tmp_path / "x.pt").write_bytes(stream.getvalue())
    assert (tmp_path / "x.pt").stat().st_size < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ArtifactError, match="compressed"):
        import_file(tmp_path / "x.pt", base_family="sd1", token="<x>")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_members_that_overlap_count_each_for_itself() -> None:
    """A central directory that names the same ten million bytes a hundred times."""
    data = bytearray(pickles.pack({"archive/data.pkl": pickle.dumps({}, 2), "archive/data/0": bytes(1_000_000)}))
    start = data.rindex(b"PK\x01\x02")
    entry, end = data[start : data.rindex(b"PK\x05\x06")], data[data.rindex(b"PK\x05\x06") :]
    entries = b"".join(entry.replace(b"archive/data/0", b"archive/d%05d" % number) for number in range(99))
    directory = data[data.index(b"PK\x01\x02") : start] + entries
    end[8:16] = struct.pack("<HHI", 100, 100, len(directory))
    bomb = bytes(data[: data.index(b"PK\x01\x02")] + directory + end)
    with pytest.raises(ArtifactError, match="larger than the file"):
        pickles.load(bomb, "x.pt")


def test_a_tensor_may_not_pretend_to_be_large() -> None:
    wide = torch.zeros(1).expand(4_000_000, 4_000)
    for content in ({"<x>": wide}, [ROWS[:1].expand(60, 768)] * 50, [torch.zeros(1)] * 1000):
        with pytest.raises(ArtifactError, match=r"matrix of|more rows"):
            find(pickles.load(saved(content), "x.pt"))


def test_too_long_a_pickle_is_not_walked_to_its_end() -> None:
    with pytest.raises(ArtifactError, match="20,000 steps"):
        pickles.load(archive(b"\x80\x02" + b"N0" * 5_000_000 + b"N."), "x.pt")


def read(data: bytes) -> None:
    try:
        find(pickles.load(data, "x.pt"))
    except ArtifactError as error:
        assert error.message and error.hint


SAMPLES = [
    saved({"string_to_param": {"*": torch.nn.Parameter(ROWS)}, "step": 3, "name": "x"}),
    original(ROWS[:, :8]),
    saved({"<x>": ROWS[:, :8]}),
    saved({"<x>": ROWS[:, :8]}, _use_new_zipfile_serialization=False),
    saved([ROWS[:, :4], {"a": ROWS[:, :4]}]),
]


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=examples(300))
def test_damaged_pickles_raise_only_our_error(sample: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, min(len(damaged), 600) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(damaged))
    read(bytes(damaged[: data.draw(st.integers(2, len(damaged)))]))


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=examples(200))
def test_damaged_programs_in_sound_archives_raise_only_our_error(sample: bytes, data: st.DataObject) -> None:
    members = pickles.unpack(sample) if sample.startswith(b"PK") else {"archive/data.pkl": sample}
    program = bytearray(next(content for name, content in members.items() if name.endswith("data.pkl")))
    for _ in range(data.draw(st.integers(1, 3))):
        program[data.draw(st.integers(0, len(program) - 1))] = data.draw(st.integers(0, 255))
    read(pickles.pack({**members, "archive/data.pkl": bytes(program)}))


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_our_error(data: bytes) -> None:
    read(b"\x80\x02" + data)
    read(b"PK\x03\x04" + data)
    read(archive(b"\x80\x02" + data))
