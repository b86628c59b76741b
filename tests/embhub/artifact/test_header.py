"""The header's closed lists: what may be said, and that nothing else can be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.artifact import header
from embhub.artifact.fingerprint import BadFingerprintError
from embhub.artifact.header import BadHeaderError, BadTokenError, ForeignFileError
from embhub.errors import ArtifactError
from embhub.privacy.claim import UncheckableClaimError


def compose(**changes: Any) -> dict[str, str]:
    arguments: dict[str, Any] = {
        "token": "<cspca>", "base": None, "base_name": "builtin", "training": {"steps": 3},
        "architecture": "x/textual-inversion", "body_digest": "0" * 64,
    }  # fmt: skip
    return header.compose(**arguments | changes)


@pytest.mark.parametrize("token", ["<cspca>", "<chest-effusion>", "<a>", "<t2-w-1>", "<" + "a" * 62 + ">"])
def test_tokens_that_every_loader_takes(token: str) -> None:
    header.check_token(token)


@pytest.mark.parametrize(
    ("token", "word"),
    [
        ("<csPCa>", "upper-case"),
        ("<CXR>", "upper-case"),
        ("<cxr>_1", "further vectors"),
        ("<cxr_1>", "further vectors"),
        ("cxr", "between < and >"),
        ("<>", "between"),
        ("<cxr", "between"),
        ("<c xr>", "between"),
        ("<cxr_a>", "between"),
        ("<cxr>\n", "between"),
        ("<größe>", "between"),
        ("<\x1b[2J>", "upper-case"),
        ("<" + "a" * 63 + ">", "longer"),
        ("", "between"),
    ],
)
def test_tokens_that_some_loader_would_mangle(token: str, word: str) -> None:
    with pytest.raises(BadTokenError, match=word) as caught:
        header.check_token(token)
    assert caught.value.message.isprintable()
    assert caught.value.hint


def test_upper_case_gets_the_token_to_use_instead() -> None:
    with pytest.raises(BadTokenError) as caught:
        header.check_token("<csPCa>")
    assert "<cspca>" in caught.value.hint


@given(st.text())
def test_any_text_is_a_token_or_a_bad_token(text: str) -> None:
    try:
        header.check_token(text)
    except BadTokenError:
        return
    assert text.isascii() and text[0] + text[-1] == "<>" and text == text.lower()


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"seed": 3}},
        {"training": {"image_hashes": ["ab"]}},
        {"training": {"caption": ["a", "b"]}},
        {"training": {"caption": "a" * 301}},
        {"training": {"caption": "two\nlines"}},
        {"training": {"learning_rate": float("nan")}},
        {"training": {"steps": {"x": 1}}},
        {"training": {"steps": object()}},
        {"base_name": "/home/someone/models/base"},
        {"base_name": "../base"},
        {"base_name": "a/b/c"},
        {"base_name": ""},
    ],
)
def test_what_could_carry_private_data_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadHeaderError) as caught:
        compose(**change)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"embhub.schema": "embhub.embedding/2"}, ForeignFileError),
        ({"embhub.schema": None}, ForeignFileError),
        ({"embhub.token": None}, BadHeaderError),
        ({"embhub.token": "<X>"}, BadTokenError),
        ({"embhub.training": None}, BadHeaderError),
        ({"embhub.training": "[]"}, BadHeaderError),
        ({"embhub.training": '{"steps":1,"steps":2}'}, BadHeaderError),
        ({"embhub.training": '{"steps":NaN}'}, BadHeaderError),
        ({"embhub.base": "{}"}, BadFingerprintError),
        ({"embhub.base": "x"}, BadHeaderError),
        ({"embhub.note": "hello"}, BadHeaderError),
        ({"modelspec.thumbnail": "data:image/jpeg;base64,AAAA"}, BadHeaderError),
        ({"source_path": "/data/patients"}, BadHeaderError),
        ({"modelspec.title": "a" * 301}, BadHeaderError),
        ({"modelspec.trigger_phrase": "<other>"}, BadHeaderError),
        ({"modelspec.title": "\x1b[2J"}, BadHeaderError),
        ({"embhub.privacy": '{"epsilon":2}'}, UncheckableClaimError),
    ],
)
def test_a_header_from_a_stranger_is_checked(change: dict[str, str | None], error: type[ArtifactError]) -> None:
    metadata = {key: value for key, value in (compose() | change).items() if value is not None}
    with pytest.raises(error):
        header.check(metadata)


def test_the_header_is_written_in_canonical_json() -> None:
    metadata = compose(training={"steps": 3, "caption": "é"})
    assert metadata["embhub.training"] == '{"caption":"\\u00e9","steps":3}'
    assert json.loads(metadata["embhub.training"]) == {"caption": "é", "steps": 3}
