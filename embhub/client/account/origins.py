"""For which registry this site signs: the origin that its statements name."""

from __future__ import annotations

from embhub.client.account import accounts
from embhub.errors import UsageError
from embhub.refusals import WrongRegistryError
from embhub.site import config
from embhub.site.pins import trust_store
from embhub.trust.origin import origin_of


def to_sign_for(registry: str | None = None) -> str:
    """The origin of the registry that is meant: of its keyring where it is pinned, else the host of its address.

    Args:
        registry: its address  [default: EMBHUB_REGISTRY, config.yaml, or the only one known here].

    Raises:
        UsageError: no registry is meant, or the address has no host name.
        ConfigError: the address is none, or a pin is damaged.
    """
    address = config.check_registry(registry) if registry else accounts.only_registry()
    if address is None:
        raise UsageError(
            "a statement names the registry that it is made for, and none is set",
            "pass --registry https://…, or set EMBHUB_REGISTRY; nothing is sent to it",
        )
    if pinned := _pinned(address):
        return pinned
    try:
        return origin_of(address)
    except ValueError as error:
        raise UsageError(str(error), "give an address such as https://hub.example.org") from error


def check_destination(signed_for: str, address: str) -> None:
    """Before a release is sent: a registry that is pinned here takes what was signed for it, and nothing else.

    One that is not pinned may have another name than its address, and decides for itself.

    Raises:
        WrongRegistryError: the release was signed for another registry.
    """
    pinned = _pinned(address)
    if pinned and pinned != signed_for:
        raise WrongRegistryError(
            f"this was signed for the registry {signed_for}, and {address} is {pinned}",
            f"sign it for this one: embhub sign FILE --registry {address}",
        )


def _pinned(address: str) -> str | None:
    return trust_store.load(address).origin if address in trust_store.addresses() else None
