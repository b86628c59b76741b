"""Joining a registry by an invitation: pin the root that it names, then exchange its code for an access token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from embhub.client.account import accounts
from embhub.client.trusted import roots
from embhub.client.wire import connecting, http_client
from embhub.client.wire.http_client import StatusError
from embhub.client.wire.hub import Account
from embhub.errors import RegistryError, UsageError
from embhub.site import config, transport

PATH = "/embhub/v1/join"
_INVITE = re.compile(r"([A-Za-z0-9_-]{32})\.([A-Za-z0-9_-]{43})@(https?://[!-~]{1,200})")


@dataclass(frozen=True)
class Invite:
    """What an operator hands out.

    Attributes:
        code: The secret, good once.
        fingerprint: Of the registry's root key, `SHA256:…`.
        registry: Address.
    """

    code: str
    fingerprint: str
    registry: str


@dataclass(frozen=True)
class Joined:
    """The account that was made, the root that was pinned, and the file that holds the access token."""

    registry: str
    account: Account
    root_key: str
    file: Path


def parse(text: str) -> Invite:
    """An invitation as it was handed out; white space around it, and a line break within it, do not count.

    Raises:
        UsageError: it is none, or is cut off.
    """
    found = _INVITE.fullmatch("".join(text.split()))
    if found is None:
        raise UsageError(
            "this is no invitation, or it is cut off",
            "copy it as a whole: CODE.ROOT@https://…, as the operator sent it",
        )
    root = found[2].replace("-", "+").replace("_", "/")
    return Invite(found[1], f"SHA256:{root}", config.check_registry(found[3]))


def join(text: str) -> Joined:
    """Pin the root key that the invitation names, and make the account that it is for.

    The root is compared first: where the registry presents another one, its code is not sent. Whoever opens TLS on the
    way sees the code and the access token, as they see every request; they cannot sign for the registry.

    Raises:
        UsageError: the text is no invitation.
        VerificationError: the registry presents another root key.
        RegistryError: it cannot be reached, or refuses the code.
        ConfigError: nothing can be stored here.
    """
    invite = parse(text)
    transport.check(invite.registry)
    roots.add_root(invite.registry, fingerprint=invite.fingerprint)
    token = _exchange(invite)
    try:
        account, file = accounts.log_in(invite.registry, token=token)
    except RegistryError as error:
        raise RegistryError(
            f"the account was made, but its access token could not be tried: {error.message}",
            "the invitation is used up: ask the operator for `token new`, then run `embhub login`",
        ) from error
    return Joined(invite.registry, account, invite.fingerprint, file)


def _exchange(invite: Invite) -> str:
    client = connecting.open_client(invite.registry, None)
    try:
        with http_client.in_words(invite.registry):
            answer = client.ask(PATH, method="POST", send={"code": invite.code})
    except StatusError as error:
        hint = "ask its operator for a new one" if error.status in (403, 409) else "ask its operator"
        said = error.said.removeprefix("invite: ").partition(";")[0] or f"status {error.status}"
        raise RegistryError(f"{invite.registry} refused the invitation: {said}", hint) from error
    except ValueError as error:
        raise RegistryError(f"{invite.registry} gave an invalid answer", "is this its address?") from error
    token = answer.get("token") if isinstance(answer, dict) else None
    if not isinstance(token, str):
        raise RegistryError(f"{invite.registry} gave an invalid answer", "is this its address?")
    return config.check_token(token)
