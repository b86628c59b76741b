"""Which registries this site believes: adding a root key after a person compared it, refreshing its keyring."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embhub.client.trusted import mirrors, site_policy, trust_changes, vouching
from embhub.client.trusted.vouching import vouch_for_own_keys as vouch_for_own_keys
from embhub.errors import ConfigError, UsageError
from embhub.formats import names
from embhub.release import policy as policies
from embhub.site import config
from embhub.site.pins import trust_store
from embhub.trust import freshness, keyring_review
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Trust

Confirm = Callable[[str, str], bool]
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_LARGEST = keyrings.EXPORT_BYTES


def add_root(
    source: str, *, fingerprint: str | None = None, confirm: Confirm | None = None, namespaces: str | None = None
) -> dict[str, Any]:
    """Pin the root of the registry at a URL, or of the one whose export is in a file.

    Its keys of this day count as confirmed: the person who compared the fingerprint begins with them.

    Args:
        source: `https://…`, or the path of what `embhub-registry trust export` printed.
        fingerprint: the root key's `SHA256:…`, learned by another way than `source`.
        confirm: asked with (registry, fingerprint) where none was given; False means no. The registry is its address,
            and how its keyring calls it where that is another one.
        namespaces: the registry is asked about these alone, `a,b`; by default about all of its keyring.

    Raises:
        UsageError: a fingerprint or namespace that is none, or a file that cannot be read.
        ConfigError: nobody confirmed the fingerprint.
        VerificationError: another root key, one of a host name that is pinned with another root, or a keyring that it
            did not sign.
        RegistryError: the registry cannot be reached.
    """
    if fingerprint is not None and not _FINGERPRINT.fullmatch(fingerprint):
        raise UsageError(
            "the fingerprint is cut off or mistyped", "it is SHA256: and 43 characters after it, copied as a whole"
        )
    limited = _namespaces(namespaces)
    data, address = _read_source(source)
    export = keyrings.parse_export(data)
    where = address or export.registry
    if fingerprint is None and not (confirm and confirm(_in_words(where, export.registry), export.root_fingerprint)):
        raise ConfigError(
            f"the root key was not confirmed: {where}",
            f"ask its operator by another way whether it is {export.root_fingerprint}, then add --fingerprint with it",
        )
    first = config.check_registry(where) not in trust_store.addresses()
    opened = trust_store.add(
        data, fingerprint=fingerprint or export.root_fingerprint, address=address, namespaces=limited
    )
    if first and opened.digest == export.keyring.digest:  # else it is late, and another keyring counts
        trust_changes.confirm(where, opened)
    return _facts(where, opened)


def trust_registry(source: str, *, fingerprint: str) -> str:
    """Trust a registry: pin its root key, as `embhub trust add` does.

    Args:
        source: Address of the registry, or the file that `embhub-registry trust export` wrote.
        fingerprint: Fingerprint of its root key, `SHA256:…`. Get it from the operator, not from the registry.

    Returns:
        The address that is trusted from now on.

    Raises:
        VerificationError: The registry has another root key, or a keyring that this key did not sign.
        RegistryError: The registry cannot be reached.
        ConfigError: The pin cannot be written.
        UsageError: The file is not there.

    Example:
        >>> import embhub
        >>> embhub.trust_registry("https://hub.example.org", fingerprint="SHA256:…")  # doctest: +SKIP
        'https://hub.example.org'
    """
    return str(add_root(source, fingerprint=fingerprint)["registry"])


def list_roots() -> list[dict[str, Any]]:
    """Every pinned registry: address, root key, keyring version and date, members."""
    return [asdict(root) for root in trust_store.list_roots()]


def remove_root(registry: str) -> None:
    """Forget a pinned registry; ConfigError where it is not pinned."""
    trust_store.remove(registry)


def refresh_roots(registry: str | None = None, *, agree: trust_changes.Agree | None = None) -> list[dict[str, Any]]:
    """Fetch the newest keyring of one pinned registry, or of all, and say what changed since a person confirmed one.

    Args:
        registry: the address of one, or of a copy of it; None for all.
        agree: asked with (registry, the changes in plain words); None where there is nobody to ask.

    Raises:
        ConfigError: nothing, or not this one, is pinned.
        VerificationError: the registry offers an older keyring, or one signed by another key.
        PolicyError: the site's policy is strict, and nobody confirmed what changed. The keyring is kept all the same.
    """
    if registry and config.check_registry(registry) not in trust_store.addresses() and trust_store.addresses():
        pinned = mirrors.refresh(config.check_registry(registry))
        return [_settled(pinned, trust_store.load(pinned), agree)]
    if registry:
        trust_store.load(registry)  # before anybody is asked: is it pinned at all?
    addresses = [registry] if registry else list(trust_store.addresses())
    if not addresses:
        raise ConfigError("no registry is trusted yet", "embhub trust add URL")
    return [_settled(address, vouching.refresh(address), agree) for address in addresses]


def _settled(address: str, opened: Trust, agree: trust_changes.Agree | None) -> dict[str, Any]:
    changes = trust_changes.settle(address, opened, agree=agree)
    if site_policy.of_the_file()[0] == policies.STRICT.name:
        trust_changes.refuse_unconfirmed(address, changes)
    return _facts(address, opened) | {"changes": list(changes.lines), "confirmed": changes.agreed}


def _namespaces(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    listed = tuple(word.strip() for word in text.split(","))
    for name in listed:
        if fault := names.namespace_fault(name):
            raise UsageError(f"{name[:60]!a} is no namespace: {fault}", "write them as a,b")
    return listed


def _read_source(source: str) -> tuple[bytes, str | None]:
    if source.startswith(("http://", "https://")):
        from embhub.client.wire.hub import Hub

        address = config.check_registry(source)
        return Hub(address).trust_export(), address
    path = Path(source.removeprefix("file://"))
    if path.is_dir():
        from embhub.client.wire.hub import Hub

        return Hub(path.absolute().as_uri()).trust_export(), None
    try:
        with path.open("rb") as stream:
            return stream.read(_LARGEST + 1), None
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}",
            "name an https:// address, an exported file, or a folder with an export",
        ) from error


def _in_words(address: str, name: str) -> str:
    """The address, and how the registry calls itself: its members' signatures name that, not the address."""
    return f"{address}, which calls itself {name}," if _has_other_name(address, name) else address


def _has_other_name(address: str, name: str) -> bool:
    return name.lower() != config.check_registry(address)


def _facts(address: str, opened: Trust) -> dict[str, Any]:
    return {
        "registry": address,
        **({"name": opened.registry} if _has_other_name(address, opened.registry) else {}),
        "root key": opened.root_fingerprint,
        "keyring": f"version {opened.keyring.version} of {opened.keyring.issued}",
        "keyring fingerprint": keyring_review.in_base64(opened.digest),
        "expires": opened.keyring.expires,
        "fresh": freshness.judge(opened, datetime.now(UTC)).text,
        "members": ", ".join(member.namespace for member in opened.keyring.members) or "none yet",
    }
