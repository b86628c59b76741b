"""`/trust`: what a person compares before a site trusts this registry, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from embhub.trust.keyring import Trust
from embhub.trust.root_keys import ROOT_SCHEMA
from embhub_registry.pages.lists.list_facts import Facts

ROOT_KEY = "/trust/root.pem"


class TrustedMember(Facts):
    """A member of the keyring; `keys` and `revoked` count its signing keys."""

    namespace: str
    name: str
    keys: int
    revoked: int


class TrustPage(Facts):
    """`/trust`: address, fingerprint of the root key, keyring and its members, and commands to check them with."""

    schema_: Literal["embhub.page.trust/1"] = Field(default="embhub.page.trust/1", alias="schema")
    registry: str
    url: str
    root_fingerprint: str
    root_key: str
    root_keys: tuple[str, ...]
    threshold: int
    keyring: int
    issued: str
    expires: str
    members: tuple[TrustedMember, ...]
    add: str
    with_ssh_keygen: str
    with_openssl: str


def collect(trust: Trust, *, registry: str, url: str) -> TrustPage:
    """What the page says of an opened keyring; `url` is the address that the reader uses."""
    fetch, several = f"curl --fail {url}{ROOT_KEY} > root.pem", len(trust.root_keys) > 1
    return TrustPage(
        registry=registry, url=trust.registry, root_fingerprint=trust.root_fingerprint, root_key=ROOT_KEY,
        root_keys=tuple(sorted(key.fingerprint for key in trust.root_keys)), threshold=trust.threshold,
        keyring=trust.keyring.version, issued=trust.keyring.issued, expires=trust.expires, members=_members(trust),
        add=f"embhub trust add {trust.registry} --fingerprint SHA256:…",
        with_ssh_keygen="" if several else f"{fetch}\nssh-keygen -i -m PKCS8 -f root.pem | ssh-keygen -l -f -",
        with_openssl=_combined(trust) if several else f"{fetch}\n" + OPENSSL,
    )  # fmt: skip


# The blob of RFC 5656, section 3.1: two names, each after its length, then the 65 bytes of the point.
OPENSSL = (
    "(printf '\\0\\0\\0\\023ecdsa-sha2-nistp256\\0\\0\\0\\010nistp256\\0\\0\\0A'; \\\n"
    "  openssl pkey -pubin -in root.pem -outform DER | tail -c 65) \\\n"
    "  | openssl dgst -sha256 -binary | openssl base64"
)


def _combined(trust: Trust) -> str:
    """How the fingerprint of several root keys follows from theirs; `embhub.trust.root_keys` has the same in code."""
    lines = [ROOT_SCHEMA, str(trust.threshold), *sorted(key.fingerprint for key in trust.root_keys)]
    listed = "".join(f"  {line} \\\n" for line in lines)
    return f"printf '%s\\n' \\\n{listed}  | openssl dgst -sha256 -binary | openssl base64"


def _members(trust: Trust) -> tuple[TrustedMember, ...]:
    revoked = {row.fingerprint for row in trust.keyring.revoked}
    found = []
    for member in trust.keyring.members:
        keys = {key.fingerprint for key in member.keys}
        found.append(
            TrustedMember(
                namespace=member.namespace, name=member.name or member.namespace, keys=len(keys - revoked),
                revoked=len(keys & revoked),
            )
        )  # fmt: skip
    return tuple(found)
