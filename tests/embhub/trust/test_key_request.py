"""A key is added for whoever holds it, at the registry and for the namespace and role that they named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from embhub.refusals import BadSignatureError, MalformedKeyRequestError
from embhub.trust import dsse, key_request
from tests.support.releases import NOW, SITE, STRANGER

FILE = key_request.write("hub.example.org", "radboud", "publish", key=SITE, now=NOW)
PAYLOAD = json.loads(dsse.parse(FILE, payload_type=key_request.PAYLOAD_TYPE).payload)


def signed(key: Any = SITE, kind: str = key_request.PAYLOAD_TYPE, **changes: Any) -> bytes:
    """A request with other members, rightly signed by `key`."""
    payload = json.dumps({**PAYLOAD, **changes}).encode()
    return json.dumps(dsse.sign(payload, key=key, payload_type=kind).to_json()).encode()


def test_a_request_says_who_asks_for_what() -> None:
    asked = key_request.parse(FILE)
    assert (asked.registry, asked.namespace, asked.role) == ("hub.example.org", "radboud", "publish")
    assert asked.fingerprint == SITE.fingerprint and asked.public_key_pem == SITE.public_pem
    assert key_request.is_request(FILE) and not key_request.is_request(SITE.public_pem.encode())


def test_a_key_that_the_sender_does_not_hold() -> None:
    """Another hospital's public key, in a request that the attacker signs with their own."""
    with pytest.raises(BadSignatureError):
        key_request.parse(signed(key=STRANGER))


def test_a_statement_of_another_kind_is_no_request() -> None:
    """A signature over a release, or anything else, asks for nothing."""
    for kind in (dsse.INTOTO, "application/vnd.embhub.keyring+json"):
        with pytest.raises(MalformedKeyRequestError):
            key_request.parse(signed(kind=kind))


@pytest.mark.parametrize(
    "changes",
    [
        {"more": 1}, {"schema": "embhub.key-request/2"}, {"namespace": "Rad boud"}, {"namespace": "../x"},
        {"role": "root"}, {"role": 1}, {"registry": "https://hub.example.org"}, {"created": "today"},
        {"public_key_pem": "x"}, {"registry": None},
    ],
)  # fmt: skip
def test_whatever_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedKeyRequestError):
        key_request.parse(signed(**changes))


def test_after_a_change_the_signature_does_not_hold() -> None:
    document = json.loads(FILE)
    other = json.loads(signed(namespace="lumc"))
    document["payload"] = other["payload"]
    with pytest.raises(BadSignatureError):
        key_request.parse(json.dumps(document).encode())
