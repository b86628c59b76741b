"""The lock file is read strictly, and the same releases give the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import UsageError
from embhub.refusals import LockMismatchError
from embhub.release import lock_file
from embhub.release.lock_file import Locked

ONE = Locked(
    repository="radboud/prostate-cspca", registry="hub.example.org", version="1.0.0", commit="0" * 40,
    embedding="a" * 64, statement="b" * 64, signer="SHA256:" + "s" * 43, root="SHA256:" + "r" * 43,
)  # fmt: skip
TWO = replace(ONE, repository="nki/lung", commit=None)
FILE = lock_file.to_bytes([ONE, TWO])
ROWS = st.lists(
    st.builds(
        Locked,
        repository=st.from_regex(r"[a-f]{1,3}x/[a-z]{1,3}", fullmatch=True),
        registry=st.sampled_from(["hub.example.org", "::1"]),
        version=st.from_regex(r"[0-9]\.[0-9]", fullmatch=True),
        commit=st.none() | st.from_regex(r"[0-9a-f]{40}", fullmatch=True),
        embedding=st.just("a" * 64), statement=st.just("b" * 64), signer=st.just(ONE.signer), root=st.just(ONE.root),
    ),
    unique_by=lambda row: (row.registry, row.repository),
)  # fmt: skip


def test_what_the_file_looks_like() -> None:
    text = lock_file.to_bytes([TWO]).decode()
    assert text.startswith('{\n  "schema": "embhub.lock/1",\n  "releases": [\n    {\n      "repository": "nki/lung",\n')
    assert text.endswith("]\n}\n") and '"commit": null,' in text


@given(ROWS, st.randoms())
def test_reproducible_in_any_order_and_read_back(rows: list[Locked], chance: Any) -> None:
    data = lock_file.to_bytes(rows)
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert lock_file.to_bytes(shuffled) == data
    assert set(lock_file.parse(data)) == set(rows) and lock_file.to_bytes(lock_file.parse(data)) == data


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1}, {"embedding": "A" * 64}, {"embedding": "a" * 63}, {"statement": None}, {"commit": "0" * 39},
        {"commit": "main"}, {"repository": "../x"}, {"repository": "a/b\n"}, {"registry": "https://hub.example.org"},
        {"registry": "Hub.example.org"}, {"version": "new"}, {"signer": "SHA256:x"}, {"root": ""}, {"version": 1},
    ],
)  # fmt: skip
def test_anything_else_is_refused(change: dict[str, Any]) -> None:
    document = json.loads(lock_file.to_bytes([ONE]))
    document["releases"][0] |= change
    with pytest.raises(UsageError, match="not a lock file"):
        lock_file.parse(json.dumps(document).encode())


def test_a_member_that_is_missing_or_twice() -> None:
    document = json.loads(lock_file.to_bytes([ONE]))
    del document["releases"][0]["root"]
    data = lock_file.to_bytes([ONE])
    twice = data.replace(b'"version": "1.0.0"', b'"version": "1.0.0", "version": "1.0.1"')
    two_rows = data.replace(b"    }\n", b"    }, " + json.dumps(json.loads(data)["releases"][0]).encode())
    schema = data.replace(b"embhub.lock/1", b"embhub.lock/2")
    for bad in (json.dumps(document).encode(), twice, two_rows, schema, b"[]", b'{"schema": "embhub.lock/1"}'):
        with pytest.raises(UsageError):
            lock_file.parse(bad)
    with pytest.raises(UsageError, match="twice"):
        lock_file.to_bytes([ONE, replace(ONE, version="2.0.0")])


@pytest.mark.parametrize(
    "name", ["repository", "registry", "version", "commit", "embedding", "statement", "signer", "root"]
)
def test_each_difference_is_named(name: str) -> None:
    ONE.check(ONE)
    with pytest.raises(LockMismatchError, match=r"radboud/prostate-cspca is locked to"):
        ONE.check(replace(ONE, **{name: "other"}))
    replace(ONE, commit=None).check(ONE)
