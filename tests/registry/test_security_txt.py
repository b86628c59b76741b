"""security.txt: served once the operator has named a contact, in the form that RFC 9116 asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from embhub.errors import UsageError
from embhub_registry.storage import configuration
from embhub_registry.wire.registry_api import security_txt
from tests.registry.conftest import House

CONTACTS = "https://hub.example.org/report mailto:security@example.org"


def test_served_where_a_contact_is_named_and_only_there(house: House) -> None:
    assert house.registry.get(security_txt.PATH).status == 404
    with house.registry.opened() as opened:
        configuration.write(opened, "security.contact", CONTACTS)
        configuration.write(opened, "security.policy", "https://hub.example.org/policy")
    try:
        answer = house.registry.get(security_txt.PATH)
    finally:
        with house.registry.opened() as opened:
            configuration.write(opened, "security.contact", "")
    assert answer.status == 200 and answer.header("Content-Type") == "text/plain; charset=utf-8"
    fields = [line.split(": ", 1) for line in answer.body.decode().splitlines()]
    assert [value for name, value in fields if name == "Contact"] == CONTACTS.split()
    assert [value for name, value in fields if name == "Policy"] == ["https://hub.example.org/policy"]
    (expires,) = [value for name, value in fields if name == "Expires"]
    remaining = datetime.fromisoformat(expires) - datetime.now(UTC)
    assert timedelta(days=89) < remaining < timedelta(days=366)


def test_canonical_is_named_over_https_alone() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    text = security_txt.compose(("mailto:a@example.org",), (), url="https://hub.example.org", moment=moment)
    assert text == (
        "Contact: mailto:a@example.org\nExpires: 2030-04-01T00:00:00Z\nPreferred-Languages: en\n"
        "Canonical: https://hub.example.org/.well-known/security.txt\n"
    )
    assert "Canonical" not in security_txt.compose(("mailto:a@b.example",), (), url="http://127.0.0.1", moment=moment)


@pytest.mark.parametrize("text", ["http://hub.example.org", "security@example.org", "mailto:a", "https://é.example"])
def test_what_is_no_contact_is_refused(house: House, text: str) -> None:
    with house.registry.opened() as opened, pytest.raises(UsageError):
        configuration.write(opened, "security.contact", text)
