"""The commit body is read strictly; whatever else comes is a 400, 404 or 413 and never a fault."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.repositories import commits
from tests.support.quick import examples

HEADER = {"key": "header", "value": {"summary": "s"}}


def body(*lines: Any) -> bytes:
    return b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)


def file(path: str, content: bytes = b"x", encoding: str = "base64") -> dict[str, Any]:
    return {"key": "file", "value": {"path": path, "content": base64.b64encode(content).decode(), "encoding": encoding}}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no header"),
        (b"\n" * 100_000, "more than 100 files"),
        (b" \n" * 100_000, "more than 100 files"),
        (body(HEADER, file("a")) + b"\n \t\n" * 60, "more than 100 files"),
        (b"{", "line 1"),
        (b"\xff\xfe", "not UTF-8"),
        (body(HEADER, HEADER), "two"),
        (body(file("README.md")), "no header"),
        (body(HEADER, file("../README.md")), "not a file path"),
        (body(HEADER, file("/etc/passwd")), "not a file path"),
        (body(HEADER, file("a/../../b")), "not a file path"),
        (body(HEADER, file("a\\b")), "not a file path"),
        (body(HEADER, file("a//b")), "not a file path"),
        (body(HEADER, file(".git/config")), "not a file path"),
        (body(HEADER, file("audıt.json")), "not a file path"),
        (body(HEADER, file("x" * 300)), "not a file path"),
        (body(HEADER, file("a"), file("a")), "twice"),
        (body(HEADER, {"key": "lfsFile", "value": {"path": "a", "oid": "0", "size": 3}}), "no LFS"),
        (body(HEADER, {"key": "file", "value": {"path": "a", "content": "***", "encoding": "base64"}}), "not base64"),
        (body(HEADER, {"key": "file", "value": {"path": "a", "content": "x", "encoding": "rot13"}}), "encoding"),
        (body(HEADER, {"key": "file", "value": {"path": "a"}}), "content must be text"),
        (body(HEADER, {"key": "file", "value": []}), "operation"),
        (body(HEADER, [1]), "not a JSON object"),
        (body(HEADER, b'{"key":"file","key":"deletedFile","value":{"path":"a"}}'), "twice"),
        (body(HEADER, b'{"key":"file","value":' + b"[" * 20 + b"]" * 20 + b"}"), "operation"),
        (body(HEADER, b'{"key":"file","value":' + b"[" * 50_000 + b"]" * 50_000 + b"}"), "more than 30"),
        (body(HEADER, b'{"key":"file","value":{"path":"a","content":' + b'{"":0},' * 300_000), "more than 30"),
        (body({"key": "header", "value": {"summary": "x" * 5000}}), "at most"),
        (body({"key": "header", "value": {"summary": 3}}), "summary"),
        (body({"key": "header", "value": {"summary": "s", "parentCommit": "main"}}, file("a")), "parentCommit"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value,
)
def test_what_cannot_be_read(data: bytes, words: str) -> None:
    with pytest.raises(RequestDeniedError, match=words) as caught:
        commits.parse(data)
    assert caught.value.status == (413 if "100 files" in words else 400)


def test_more_files_than_any_release_has() -> None:
    commits.parse(body(HEADER, *[file(f"f{n}") for n in range(100)]))
    with pytest.raises(RequestDeniedError, match="more than 100 files") as caught:
        commits.parse(body(HEADER, *[file(f"f{n}") for n in range(101)]))
    assert (caught.value.status, caught.value.rule) == (413, "file-count")


def test_a_body_past_its_limit() -> None:
    with pytest.raises(RequestDeniedError) as caught:
        commits.parse(b"x" * (commits.MAX_BODY + 1))
    assert caught.value.status == 413


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=300) | st.lists(st.binary(max_size=60)).map(b"\n".join))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        commits.parse(data)
    except RequestDeniedError as error:
        assert error.status in {400, 413}


@settings(max_examples=examples(100), deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b/c", "b/d", "b", "e"]), st.binary(max_size=5), max_size=4),
    st.sets(st.sampled_from(["a", "b/c", "e"]), max_size=2),
    st.sets(st.sampled_from(["b"]), max_size=1),
)
def test_what_is_kept_and_what_is_new(files: dict[str, bytes], deleted: set[str], folders: set[str]) -> None:
    present = {"a": "1", "b/c": "2", "b/d": "3"}
    deleted -= set(files)
    request = commits.CommitRequest("t", "", None, files, frozenset(deleted), frozenset(folders))
    try:
        kept, new = commits.apply(request, present)
    except RequestDeniedError:
        return
    assert new == files
    assert not kept & set(new)
    assert not kept & deleted
    assert kept <= set(present)


def test_a_file_cannot_become_a_folder() -> None:
    request = commits.CommitRequest("t", "", None, {"a/b": b""}, frozenset(), frozenset())
    with pytest.raises(RequestDeniedError, match="file and a folder"):
        commits.apply(request, {"a": "1"})
