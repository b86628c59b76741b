"""An increment's withdrawals are those that came with its keyring, and its log is signed by a key that it names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embhub.errors import EmbhubError
from embhub.trust import advisories, dsse
from embhub.trust import keyring as keyrings
from embhub_registry.static import increments, items, layout
from tests.registry.static.test_continuing_log import log_of
from tests.support import releases
from tests.support.quick import examples
from tests.support.statics import contents, make_increment

KEY = releases.make_key("advisories")
ONLINE = {"advisories": {"fingerprint": KEY.fingerprint, "public_key_pem": KEY.public_pem}}
AT, SCRIPT = "2026-11-20T10:00:00Z", b"<script>alert(1)</script>"


def listed(number: int, *, registry: str = releases.ORIGIN, by: releases.SigningKey = KEY) -> dsse.Envelope:
    """A list of withdrawals, which has none."""
    return advisories.build(registry, number=number, issued=AT, entries=()).sign(by)


ONE, TWO = listed(1), listed(2)


def written(envelope: dsse.Envelope) -> bytes:
    return json.dumps(envelope.to_json(), separators=(",", ":")).encode()


def files_of(envelope: dsse.Envelope | None, **changes: Any) -> dict[str, bytes]:
    """Keyring and withdrawals as an export writes them."""
    ring = releases.make_keyring(**{"online": ONLINE, **changes})
    export = replace(keyrings.parse_export(releases.make_export(ring)), advisories=envelope)
    data = written(envelope) if envelope is not None else None
    return {item.path: item.read() for item in layout.of_trust(export.to_bytes(), data)}


def apply(files: Mapping[str, bytes], tmp_path: Path, *, to: Mapping[str, bytes]) -> dict[str, bytes]:
    """What an increment makes of a copy, which stays as it is where the increment is refused."""
    for name in ("copy", "stick"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    copy, stick = (make_increment(tmp_path / name, dict(held)) for name, held in (("copy", to), ("stick", files)))
    before = contents(copy)
    try:
        increments.apply(stick, copy)
    except EmbhubError:
        assert contents(copy) == before
        raise
    return contents(copy)


def without_keyring(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if path != layout.TRUST}


@pytest.mark.parametrize("held", [None, ONE, TWO])
@pytest.mark.parametrize("narrow", [False, True])
def test_a_list_of_withdrawals_that_is_newer_or_the_same_is_applied(
    tmp_path: Path, held: dsse.Envelope | None, narrow: bool
) -> None:
    before, after = files_of(held), files_of(TWO)
    if narrow:
        before, after = without_keyring(before), without_keyring(after)
    if before or not narrow:
        assert apply(after, tmp_path, to=before).items() >= after.items()


FORGED = {
    "a page": SCRIPT,
    "no list": b'{"payload":"signed"}',
    "an older one": written(ONE),
    "one of a stranger": written(listed(3, by=releases.STRANGER)),
    "one of another registry": written(listed(3, registry="other.example.org")),
    "a newer one than its keyring has": written(listed(3)),
    "a script beside the signature": written(replace(TWO, keyid=SCRIPT.decode())),
    "a script in a space": written(TWO) + SCRIPT,
    "a list of something else": written(dsse.sign(b"{}", key=KEY)),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("held", [None, ONE, TWO])
def test_no_other_list_of_withdrawals_than_that_of_the_keyring_is_taken(
    tmp_path: Path, forged: bytes, held: dsse.Envelope | None
) -> None:
    """Not even the one that the copy has, where the keyring brings a newer one."""
    with pytest.raises(EmbhubError, match=r"tag in it|came with its keyring"):
        apply(files_of(TWO) | {layout.ADVISORIES: forged}, tmp_path, to=files_of(held))


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_list_of_withdrawals_that_is_changed_anywhere_is_refused_or_says_the_same(
    tmp_path: Path, data: st.DataObject
) -> None:
    good = written(TWO)
    place, width = data.draw(st.integers(0, len(good))), data.draw(st.integers(0, 3))
    changed = good[:place] + data.draw(st.binary(max_size=3)) + good[place + width :]
    for files in (files_of(TWO), without_keyring(files_of(TWO))):
        try:
            found = apply(files | {layout.ADVISORIES: changed}, tmp_path, to=without_keyring(files_of(ONE)))
        except EmbhubError:
            continue
        taken = advisories.read_envelope(found[layout.ADVISORIES])
        assert b"<" not in changed and (taken == TWO or layout.TRUST not in files)


def test_a_number_far_ahead_of_the_clock_comes_into_no_export(tmp_path: Path) -> None:
    """Nothing honest would follow it."""
    for before in ({}, files_of(ONE)):
        with pytest.raises(EmbhubError, match="ahead of the clock"):
            apply(files_of(listed(2**53 - 1)), tmp_path, to=before)


@pytest.mark.parametrize("held", [ONE, TWO])
def test_a_list_of_withdrawals_is_never_removed(tmp_path: Path, held: dsse.Envelope) -> None:
    files = {path: data for path, data in files_of(TWO).items() if path != layout.ADVISORIES}
    for before in (files_of(held), files_of(None)):
        with pytest.raises(EmbhubError, match="takes the list of withdrawals away"):
            apply(files, tmp_path, to=before)
    with pytest.raises(EmbhubError, match="takes the list of withdrawals away"):
        apply(log_of([b"one"]), tmp_path, to=without_keyring(files_of(held)))


def test_without_a_keyring_a_list_of_withdrawals_has_its_form_and_is_never_older(tmp_path: Path) -> None:
    before = without_keyring(files_of(TWO))
    for forged, said in (
        (SCRIPT, "tag in it"), (b'{"payload":"signed"}', "is no list"), (written(ONE), "has number 1"),
        (written(replace(listed(1), payload=TWO.payload + b" ")), "has number 2|is no list"),
        (written(listed(3, registry="other.example.org")), "that of the export 2"),
    ):  # fmt: skip
        with pytest.raises(EmbhubError, match=said):
            apply({layout.ADVISORIES: forged}, tmp_path, to=before)
    for poisoned in (SCRIPT, written(TWO)):  # a program before this one took a page
        files = {layout.ADVISORIES: written(listed(3))}
        assert apply(files, tmp_path, to=before | {layout.ADVISORIES: poisoned}).items() >= files.items()


def test_a_list_that_is_signed_by_an_earlier_key_stays_where_the_keyring_brings_none(tmp_path: Path) -> None:
    """The registry lacks the key that its keyring names now, and exports what was signed last."""
    before = files_of(None) | {layout.ADVISORIES: written(ONE)}
    after = files_of(None, version=2) | {layout.ADVISORIES: written(ONE)}
    assert apply(after, tmp_path, to=before).items() >= after.items()
    with pytest.raises(EmbhubError, match="came with its keyring"):
        apply(after | {layout.ADVISORIES: written(TWO)}, tmp_path, to=before)


@pytest.mark.parametrize("held", [{}, files_of(None)], ids=["no keyring", "a keyring"])
def test_a_log_is_refused_where_the_keyring_names_no_key_for_one(tmp_path: Path, held: dict[str, bytes]) -> None:
    """Nobody could check its signature, and no registry has such a keyring: it names the key first."""
    before = {"embhub/v1/status/radboud/one": b"{}\n"} | held
    with pytest.raises(EmbhubError, match="names no key for one"):
        apply(before | files_of(None, version=2) | log_of([b"one"]), tmp_path, to=before)


@pytest.mark.parametrize("held", [{}, files_of(None)], ids=["no keyring", "a keyring"])
def test_nothing_is_a_keyring_but_one_that_its_root_signed(tmp_path: Path, held: dict[str, bytes]) -> None:
    before = {"embhub/v1/status/radboud/one": b"{}\n"} | held
    good = files_of(None)[layout.TRUST]
    with_more = json.dumps({**json.loads(good), "later": SCRIPT.decode()}).encode()
    other = files_of(None, version=2)[layout.TRUST]
    unsigned = json.dumps({**json.loads(good), "keyring": json.loads(other)["keyring"] | {
        "signatures": json.loads(good)["keyring"]["signatures"]}}).encode()  # fmt: skip
    for forged in (SCRIPT, b"{}", with_more, unsigned):
        with pytest.raises(EmbhubError):
            apply(before | {layout.TRUST: forged}, tmp_path, to=before)


def test_a_checkpoint_has_no_tag_in_the_name_of_a_witness(tmp_path: Path) -> None:
    files = log_of([b"one"])
    line = "\N{EM DASH} <script> AAAAAAAA\n".encode()
    with pytest.raises(EmbhubError, match="tag in it"):
        apply(files | {"log/checkpoint": files["log/checkpoint"] + line}, tmp_path, to={items.REMOVED: b""})
