"""The strict container: what it accepts, the format's own library reads alike; what it refuses, it names."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embhub.errors import ArtifactError
from embhub.formats import tensors
from tests.support.quick import examples

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)
SOUND = tensors.serialize({"clip_g": ROWS, "clip_l": ROWS + 1}, {"a": "b"})

matrices = arrays.arrays(
    st.sampled_from([np.float16, np.float32]),
    st.tuples(st.integers(1, 64), st.integers(1, 40)),
    elements=st.floats(-1000, 1000, width=16),
)


def _file(header: Any, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def _entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]} | changes


BODY = ROWS.tobytes()


@given(st.dictionaries(st.sampled_from(["emb_params", "clip_l", "clip_g", "é"]), matrices, min_size=1), st.text())
def test_what_is_written_reads_back_here_and_in_the_real_library(content: dict[str, Any], text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    data = tensors.serialize(content, {"note": text})
    assert data == tensors.serialize(content, {"note": text})
    assert int.from_bytes(data[:8], "little") % 8 == 0
    file = tensors.parse(data)
    assert file.metadata == {"note": text}
    theirs = safetensors.numpy.load(data)
    assert set(file.tensors) == set(theirs) == set(content)
    for name, values in content.items():
        np.testing.assert_array_equal(file.tensors[name].values, values)
        np.testing.assert_array_equal(theirs[name], values)


@settings(max_examples=examples(400))
@given(st.data())
def test_no_change_of_one_byte_is_read_otherwise_than_by_the_real_library(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(SOUND) - 1))
    changed = bytearray(SOUND)
    changed[place] = data.draw(st.integers(0, 255))
    _agrees(bytes(changed))


@given(st.integers(0, len(SOUND)), st.binary(max_size=40))
def test_no_cut_and_no_addition_is_read(end: int, more: bytes) -> None:
    changed = SOUND[:end] + more
    if changed != SOUND and not (end >= len(SOUND) - 48 and len(changed) == len(SOUND)):
        with pytest.raises(ArtifactError):
            tensors.parse(changed)


@given(st.binary(max_size=300))
def test_noise_is_never_another_exception(noise: bytes) -> None:
    _agrees(noise)
    _agrees(len(noise).to_bytes(8, "little") + noise)


def _agrees(data: bytes) -> None:
    try:
        file = tensors.parse(data)
    except ArtifactError:
        return
    theirs = safetensors.torch.load(data)
    assert set(theirs) == set(file.tensors)
    for name, tensor in file.tensors.items():
        np.testing.assert_array_equal(theirs[name].float().numpy(), tensor.values.astype(np.float32))


def test_bfloat16_is_read_as_float32() -> None:
    values = torch.tensor([[1.5, -2.25, 3e38], [0.0, 1e-20, 7.0]]).bfloat16()
    file = tensors.parse(safetensors.torch.save({"emb_params": values}))
    assert file.tensors["emb_params"].dtype == "bfloat16"
    np.testing.assert_array_equal(file.tensors["emb_params"].values, values.float().numpy())


def test_what_is_read_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        tensors.parse(SOUND).tensors["clip_g"].values[0, 0] = 9


def _nan(value: float) -> bytes:
    values = ROWS.copy()
    values[1, 2] = value
    return values.tobytes()


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"x" * 100)
    return buffer.getvalue()


def _torch() -> bytes:
    buffer = io.BytesIO()
    torch.save({"string_to_param": {"*": torch.zeros(1, 4)}}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


REFUSED = [
    ("empty", b"", tensors.TruncatedFileError),
    ("only a length", b"\2\0\0\0\0\0\0\0", tensors.TruncatedFileError),
    ("no tensor", _file({}, b""), tensors.MalformedHeaderError),
    ("only metadata", _file({"__metadata__": {"a": "b"}}, b""), tensors.MalformedHeaderError),
    ("header beyond the file", _file({"x": _entry()}, BODY)[:40], tensors.TruncatedFileError),
    ("header of 4 GB", (2**32).to_bytes(8, "little") + b"{}", tensors.MalformedHeaderError),
    ("header over 100 kB", _file(b"{" + b" " * 100_001 + b"}", b""), tensors.MalformedHeaderError),
    ("leading blank", _file(b" {}", b""), tensors.MalformedHeaderError),
    ("not JSON", _file(b"{'x': 1}", b""), tensors.MalformedHeaderError),
    ("not UTF-8", _file(b'{"\xff": 1}', b""), tensors.MalformedHeaderError),
    ("a list", _file(b"[]      ", b""), tensors.MalformedHeaderError),
    ("deep", _file(b'{"a":' * 5000, b""), tensors.MalformedHeaderError),
    ("lone surrogate", _file(b'{"__metadata__":{"a":"\\ud800"}}', b""), tensors.MalformedHeaderError),
    (
        "key twice",
        _file(b'{"x":%b,"x":%b}' % ((json.dumps(_entry()).encode(),) * 2), BODY),
        tensors.MalformedHeaderError,
    ),
    (
        "key twice, escaped",
        _file(b'{"x":%b,"\\u0078":%b}' % ((json.dumps(_entry()).encode(),) * 2), BODY),
        tensors.MalformedHeaderError,
    ),
    (
        "inner key twice",
        _file(b'{"x":{"dtype":"F32","dtype":"F16","shape":[3,4],"data_offsets":[0,48]}}', BODY),
        tensors.MalformedHeaderError,
    ),
    ("metadata key twice", _file(b'{"__metadata__":{"a":"b","a":"c"}}', b""), tensors.MalformedHeaderError),
    ("metadata not text", _file({"__metadata__": {"a": 1}, "x": _entry()}, BODY), tensors.MalformedHeaderError),
    ("metadata a list", _file({"__metadata__": ["a"], "x": _entry()}, BODY), tensors.MalformedHeaderError),
    ("extra member", _file({"x": _entry(note="hi")}, BODY), tensors.MalformedHeaderError),
    ("member missing", _file({"x": {"dtype": "F32", "shape": [3, 4]}}, BODY), tensors.MalformedHeaderError),
    ("entry not an object", _file({"x": 3}, BODY), tensors.MalformedHeaderError),
    ("float shape", _file({"x": _entry(shape=[3.0, 4])}, BODY), tensors.MalformedHeaderError),
    ("bool shape", _file({"x": _entry(shape=[True, 12])}, BODY), tensors.MalformedHeaderError),
    ("negative offset", _file({"x": _entry(data_offsets=[-48, 0])}, BODY), tensors.MalformedHeaderError),
    ("three offsets", _file({"x": _entry(data_offsets=[0, 24, 48])}, BODY), tensors.MalformedHeaderError),
    (
        "NaN offset",
        _file(b'{"x":{"dtype":"F32","shape":[3,4],"data_offsets":[0,NaN]}}', BODY),
        tensors.MalformedHeaderError,
    ),
    ("huge offset", _file({"x": _entry(data_offsets=[0, 10**30])}, BODY), tensors.BadOffsetsError),
    ("endless number", _file(b'{"x":' + b"9" * 5000 + b"}", BODY), tensors.MalformedHeaderError),
    ("too short for its shape", _file({"x": _entry(data_offsets=[0, 44])}, BODY), tensors.BadOffsetsError),
    ("beyond the end", _file({"x": _entry()}, BODY[:-1]), tensors.TruncatedFileError),
    ("gap at the start", _file({"x": _entry(data_offsets=[4, 52])}, b"1234" + BODY), tensors.BadOffsetsError),
    ("overlap", _file({"x": _entry(), "y": _entry(data_offsets=[24, 72])}, BODY + BODY[:24]), tensors.BadOffsetsError),
    ("same range twice", _file({"x": _entry(), "y": _entry()}, BODY), tensors.BadOffsetsError),
    (
        "gap between",
        _file({"x": _entry(), "y": _entry(data_offsets=[52, 100])}, BODY + b"1234" + BODY),
        tensors.BadOffsetsError,
    ),
    ("trailing bytes", _file({"x": _entry()}, BODY + b"\0"), tensors.TrailingBytesError),
    ("int64", _file({"x": _entry(dtype="I64", shape=[1, 6])}, BODY), tensors.BadTensorTypeError),
    ("float64", _file({"x": _entry(dtype="F64", shape=[3, 2])}, BODY), tensors.BadTensorTypeError),
    ("type not text", _file({"x": _entry(dtype=["F32"])}, BODY), tensors.BadTensorTypeError),
    ("vector", _file({"x": _entry(shape=[12])}, BODY), tensors.BadTensorShapeError),
    ("cube", _file({"x": _entry(shape=[1, 3, 4])}, BODY), tensors.BadTensorShapeError),
    ("no rows", _file({"x": _entry(shape=[0, 4], data_offsets=[0, 0])}, b""), tensors.BadTensorShapeError),
    ("65 rows", _file({"x": _entry(shape=[65, 1], data_offsets=[0, 260])}, b"\0" * 260), tensors.BadTensorShapeError),
    (
        "8193 wide",
        _file({"x": _entry(shape=[1, 8193], data_offsets=[0, 32772])}, b"\0" * 32772),
        tensors.BadTensorShapeError,
    ),
    ("NaN", _file({"x": _entry()}, _nan(float("nan"))), tensors.NotFiniteError),
    ("infinity", _file({"x": _entry()}, _nan(float("-inf"))), tensors.NotFiniteError),
    (
        "infinity in bfloat16",
        _file({"x": _entry(dtype="BF16", shape=[1, 1], data_offsets=[0, 2])}, b"\x80\x7f"),
        tensors.NotFiniteError,
    ),
    ("one byte too many", b"\0" * 1_000_001, tensors.FileTooLargeError),
    ("zip", _zip(), tensors.PickleFileError),
    ("old torch file", _torch(), tensors.PickleFileError),
    ("pickle", pickle.dumps({"a": 1}), tensors.PickleFileError),
    ("LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", tensors.NotSafetensorsError),
    ("web page", b"\n<!doctype html><html>", tensors.NotSafetensorsError),
]


@pytest.mark.parametrize(("data", "error"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_each_malformed_file_has_its_own_refusal(data: bytes, error: type[ArtifactError]) -> None:
    with pytest.raises(ArtifactError) as caught:
        tensors.parse(data)
    assert type(caught.value) is error
    assert caught.value.hint
    assert len(caught.value.message) < 300


def test_a_hostile_name_does_not_reach_the_terminal() -> None:
    with pytest.raises(tensors.BadTensorTypeError) as caught:
        tensors.parse(_file({"\x1b[2J" + "x" * 500: _entry(dtype="\x1b[31m")}, BODY))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 250


def test_the_largest_allowed_file_is_read() -> None:
    values = np.zeros((64, 3800), dtype=np.float32)
    assert len(tensors.serialize({"emb_params": values}, {})) < tensors.MAX_BYTES
    assert tensors.parse(tensors.serialize({"emb_params": values}, {})).tensors["emb_params"].values.shape == (64, 3800)


@pytest.mark.parametrize("length", [640, 896, 1152, 1408, 15392])
def test_a_header_whose_length_begins_like_another_kind_of_file_is_read(length: int) -> None:
    bare = int.from_bytes(tensors.serialize({"a": ROWS}, {"b": ""})[:8], "little")
    data = tensors.serialize({"a": ROWS}, {"b": "x" * (length - bare)})
    assert int.from_bytes(data[:8], "little") == length
    assert tensors.parse(data).metadata["b"].startswith("x")


@given(kind=st.sampled_from(["F16", "F32", "BF16"]), bits=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6))
@example(kind="F16", bits=[0x7C00])
@example(kind="F32", bits=[0x7F800000, 0])
@example(kind="BF16", bits=[0xFF80])
@example(kind="F32", bits=[0xFFC00001])
def test_numbers_are_finite_where_numpy_says_so(kind: str, bits: list[int]) -> None:
    """The reader looks at exponents itself, since importing numpy takes longer than all it reads."""
    width = tensors.DTYPES[kind][1]
    raw = b"".join((number % 256**width).to_bytes(width, "little") for number in bits)
    values = tensors.widen_bfloat16(raw) if kind == "BF16" else np.frombuffer(raw, dtype=f"<f{width}")
    assert tensors._is_finite(raw, kind) == bool(np.isfinite(values).all())
