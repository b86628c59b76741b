"""Joining a registry by an invitation: pin the root that it names, then exchange its code for an access token.

The site becomes a witness of the registry's log, and relies on itself where it named no other witness.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from embhub.client.account import accounts
from embhub.client.log import log_policy, logged
from embhub.client.monitor import watching, witness
from embhub.client.monitor.witness import Witness
from embhub.client.trusted import roots
from embhub.client.wire import connecting, http_client
from embhub.client.wire.answers import Account
from embhub.client.wire.http_client import StatusError
from embhub.errors import EmbhubError, RegistryError, UsageError, VerificationError
from embhub.site import config
from embhub.site.pins import transport

PATH = "/embhub/v1/join"
WITNESS_KEY = "witness.pem"
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
    """What `join` did.

    Attributes:
        registry: Address.
        account: The account that was made.
        root_key: Fingerprint of the root that was pinned.
        file: It holds the access token.
        witness: The verifier key of this site's witness; empty where it is none.
        key: The file of that key.
        cosigned: In words what the witness did.
        refused: Why it did not cosign the log.
    """

    registry: str
    account: Account
    root_key: str
    file: Path
    witness: str = ""
    key: Path | None = None
    cosigned: str = ""
    refused: EmbhubError | None = None


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


def join(text: str, *, as_witness: bool = True) -> Joined:
    """Pin the root key that the invitation names, and make the account that it is for.

    The root is compared first: where the registry presents another one, its code is not sent. Whoever opens TLS on the
    way sees the code and the access token, as they see every request; they cannot sign for the registry.

    Args:
        text: The invitation.
        as_witness: Make a witness's key, read the registry's log and cosign it. A site whose log policy asks for no
            witnesses then relies on this one.

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
    done = Joined(invite.registry, account, invite.fingerprint, file)
    return _witness(done) if as_witness else done


def _witness(done: Joined) -> Joined:
    """Read and cosign the log; what goes wrong is in `refused`, because the account was made."""
    key = config.paths().config / WITNESS_KEY
    place = "-".join((*done.account.namespaces[:1], "witness"))
    try:
        log, trust = watching.find(done.registry)
    except UsageError as error:  # it keeps no log
        return replace(done, cosigned=error.message)
    try:
        if not watching.is_confirmed(log, trust):
            raise VerificationError("nobody here confirmed the log's key", "embhub trust refresh")
        name = "" if key.exists() else f"{urlsplit(done.registry).netloc}/{place}"
        own = Witness(witness.open_key(key, name=name), {log.name: log})
        done = replace(done, witness=str(own.signer.public), key=key)
        if not logged.site_policy().asks_for_witnesses:
            log_policy.write([done.witness], replace=True)
        source, now = watching.source_of(done.registry), datetime.now(UTC)
        found = watching.look(source, log, trust, now=now)
        said = watching.cosign(source, found.checkpoint, log, own, time=int(now.timestamp()))
        return replace(done, cosigned=said)
    except watching.NotTakenError as error:  # the operator has not accepted this witness yet, and the site relies on it
        return replace(done, cosigned=error.message)
    except EmbhubError as error:
        return replace(done, refused=error)


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
