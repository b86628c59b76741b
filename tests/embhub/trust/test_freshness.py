"""What a timestamp is worth: by its own dates, its key, and what it says is current. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from embhub.formats import instants
from embhub.refusals import BadSignatureError, MalformedAdvisoriesError, MalformedKeyringError, RollbackError
from embhub.trust import dsse, freshness
from embhub.trust import keyring as keyrings
from embhub.trust import timestamp as stamping
from embhub.trust.advisories import Advisories
from tests.support.releases import NOW, ORIGIN, ROOT, SITE, STRANGER, make_export, make_keyring
from tests.support.stamped import ONLINE, RING, TIMESTAMP, opened, stamped


def test_fresh_then_stale_by_its_own_dates() -> None:
    trust = opened(stamped(RING))
    assert freshness.judge(trust, NOW + timedelta(days=1)).state == "fresh"
    late = freshness.judge(trust, NOW + timedelta(days=7))
    assert (late.state, late.since, late.expected) == ("stale", instants.write(NOW + timedelta(days=7)), True)
    assert "7 days old" in late.text


def test_missing_though_the_keyring_names_its_key() -> None:
    found = freshness.judge(opened(keyrings.parse_export(make_export(RING))), NOW)
    assert (found.state, found.expected) == ("unknown", True) and "missing" in found.text


def test_a_keyring_without_a_timestamp_key_is_of_unknown_age() -> None:
    found = freshness.judge(opened(keyrings.parse_export(make_export())), NOW)
    assert (found.state, found.expected) == ("unknown", False) and "names no timestamp key" in found.text


def test_an_expired_keyring_is_stale_whatever_its_timestamp_says() -> None:
    ring = make_keyring(online=ONLINE, expires="2026-11-20T12:00:00Z")
    found = freshness.judge(opened(stamped(ring, days=30)), NOW + timedelta(hours=2))
    assert (found.state, found.since) == ("stale", "2026-11-20T12:00:00Z") and "keyring expired" in found.text


def test_a_timestamp_from_the_future_says_nothing() -> None:
    found = freshness.judge(opened(stamped(RING, at=NOW + timedelta(days=300))), NOW)
    assert found.state == "unknown" and "check the clocks" in found.text


MIXED: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "of another keyring version": ({"keyring": {"version": 9, "sha256": "0" * 64}}, RollbackError),
    "of another keyring of this version": ({"keyring": {"version": 1, "sha256": "0" * 64}}, RollbackError),
    "with advisories that are held back": ({"advisories": {"number": 3, "sha256": "0" * 64}}, RollbackError),
    "of another registry": ({"registry": "evil.example.org"}, MalformedKeyringError),
}


@pytest.mark.parametrize("name", MIXED)
def test_mix_and_match(name: str) -> None:
    changes, kind = MIXED[name]
    parts: dict[str, Any] = {"keyring": stamping.CurrentKeyring, "advisories": stamping.CurrentAdvisories}
    values: dict[str, Any] = {
        field: parts[field](**value) if field in parts else value for field, value in changes.items()
    }
    with pytest.raises(kind):
        opened(stamped(RING, **values))


def test_only_its_own_key_signs_a_timestamp() -> None:
    for key in (SITE, ROOT, STRANGER):
        with pytest.raises(BadSignatureError):
            opened(stamped(RING, key=key))
    with pytest.raises(MalformedKeyringError, match="names no key"):
        opened(stamped(make_keyring()))


def test_the_timestamp_key_can_do_nothing_else() -> None:
    """Its thief signs a keyring, and a release: neither counts."""
    forged = keyrings.sign_keyring(make_keyring(online=ONLINE, version=2), root_key=TIMESTAMP)
    with pytest.raises(BadSignatureError):
        opened(replace(keyrings.parse_export(make_export(RING)), keyring=forged))
    assert opened(stamped(RING)).lookup(TIMESTAMP.fingerprint) is None
    envelope = stamped(RING).timestamp
    assert envelope is not None
    with pytest.raises(Exception, match="payloadType"):
        dsse.parse(envelope.to_json(), payload_type=keyrings.KEYRING_TYPE)


SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


def test_each_date_ends_at_its_very_second() -> None:
    trust = opened(stamped(RING, days=7))
    assert freshness.judge(trust, NOW - HOUR).state == "fresh", "an hour between clocks is nothing"
    assert freshness.judge(trust, NOW - HOUR - SECOND).state == "unknown"
    assert freshness.judge(trust, NOW + 7 * DAY - SECOND).state == "fresh"
    assert freshness.judge(trust, NOW + 7 * DAY).state == "stale"
    ring = make_keyring(online=ONLINE, expires=instants.write(NOW + DAY))
    trust = opened(stamped(ring, days=30))
    assert freshness.judge(trust, NOW + DAY - SECOND).state == "fresh"
    late = freshness.judge(trust, NOW + DAY)
    assert (late.state, late.since, late.expected) == ("stale", instants.write(NOW + DAY), True)


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (-HOUR, "0 hours"),
        (HOUR - SECOND, "0 hours"),
        (HOUR, "1 hour"),
        (2 * HOUR, "2 hours"),
        (47 * HOUR, "47 hours"),
        (2 * DAY, "2 days"),
        (3 * DAY - SECOND, "2 days"),
    ],
    ids=str,
)
def test_ages_in_words(age: timedelta, words: str) -> None:
    found = freshness.judge(opened(stamped(RING)), NOW + age)
    assert found.text.startswith(f"fresh: the timestamp of {instants.write(NOW)} ({words} old) confirms")
    expired = make_keyring(online=ONLINE, expires=instants.write(NOW))
    if age >= timedelta(0):
        assert freshness.judge(opened(stamped(expired)), NOW + age).text.endswith(f", {words} ago")


def test_how_old_a_keyring_of_unknown_age_is() -> None:
    """It was issued on the 19th, and NOW is half past ten on the 20th."""
    for export in (keyrings.parse_export(make_export(RING)), keyrings.parse_export(make_export())):
        assert "issued on 2026-11-19T00:00:00Z, 34 hours ago" in freshness.judge(opened(export), NOW).text


def listing(number: int) -> keyrings.Trust:
    """A keyring with advisories of this number and without a timestamp."""
    online = {"advisories": {"fingerprint": SITE.fingerprint, "public_key_pem": SITE.public_pem}}
    export = keyrings.parse_export(make_export(make_keyring(members=[], online=online)))
    envelope = Advisories(ORIGIN, number, instants.write(NOW)).sign(SITE)
    return opened(replace(export, advisories=envelope))


def test_what_is_more_than_a_day_ahead_is_refused() -> None:
    freshness.refuse_the_future(opened(keyrings.parse_export(make_export())), NOW)
    freshness.refuse_the_future(opened(stamped(RING, at=NOW + DAY)), NOW)
    with pytest.raises(MalformedKeyringError, match="far ahead"):
        freshness.refuse_the_future(opened(stamped(RING, at=NOW + DAY + SECOND)), NOW)
    tomorrow = int((NOW + DAY).timestamp())
    freshness.refuse_the_future(listing(tomorrow), NOW)
    with pytest.raises(MalformedAdvisoriesError, match="far ahead"):
        freshness.refuse_the_future(listing(tomorrow + 1), NOW)


def test_a_date_is_ahead_after_a_day() -> None:
    assert not freshness.is_ahead(instants.write(NOW + DAY), NOW)
    assert freshness.is_ahead(instants.write(NOW + DAY + SECOND), NOW)
