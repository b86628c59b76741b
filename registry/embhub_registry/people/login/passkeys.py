"""Passkeys (WebAuthn level 2) by the `webauthn` package: discoverable, with user verification, without attestation."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import webauthn
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from embhub.formats import strict_json
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import logins
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people import auth
from embhub_registry.people.login import sessions
from embhub_registry.people.login.login_codes import WrongCodeError
from embhub_registry.people.login.sessions import NewSession
from embhub_registry.storage.folder import Registry

MINUTES = 5
LONGEST_NAME = 60
MOST = 20
_WRONG = (WebAuthnException, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Ceremony:
    """What the page hands to `navigator.credentials`, and the secret that the answer comes back with."""

    options: str
    secret: str


def offer(registry: Registry, user_id: int, user: str, *, url: str) -> Ceremony:
    """Begin to register a passkey for an account at the registry's address `url`."""
    host = rp_id(url)
    secret, challenge = secrets.token_urlsafe(32), secrets.token_bytes(32)
    known = logins.find_passkeys(registry.database.connection(), user_id)
    options = webauthn.generate_registration_options(
        rp_id=host, rp_name=registry.setting("name"), user_name=user, user_id=_handle(registry, user_id),
        challenge=challenge, exclude_credentials=[PublicKeyCredentialDescriptor(id=row["credential"]) for row in known],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
    )  # fmt: skip
    _remember(registry, secret, challenge, kind="passkey-new", user_id=user_id)
    return Ceremony(webauthn.options_to_json(options), secret)


def register(
    registry: Registry, user_id: int, user: str, *, url: str, secret: str, answer: str, name: str
) -> None:  # fmt: skip
    """Keep the passkey that the browser made.

    Raises:
        RequestDeniedError: 400 where it is not an answer to this registry's challenge, or the name cannot be shown.
    """
    name = " ".join(name.split())
    if not name or not name.isprintable() or len(name) > LONGEST_NAME:
        raise malformed(f"give the passkey a name of at most {LONGEST_NAME} characters", "for example: laptop")
    challenge = _recall(registry, secret, kind="passkey-new", user_id=user_id)
    try:
        verified = webauthn.verify_registration_response(
            credential=strict_json.loads(answer), expected_challenge=challenge, expected_rp_id=rp_id(url),
            expected_origin=url, require_user_verification=True,
        )  # fmt: skip
    except _WRONG as error:
        raise RequestDeniedError(400, "passkey", "this passkey could not be verified", "begin again") from error
    with registry.database.writing() as db:
        if len(logins.find_passkeys(db, user_id)) >= MOST:
            raise RequestDeniedError(409, "passkey", f"an account has at most {MOST} passkeys", "remove one")
        added = logins.add_passkey(
            db, verified.credential_id, user_id, public_key=verified.credential_public_key,
            sign_count=verified.sign_count, name=name, now=stamp(),
        )  # fmt: skip
    if not added:
        raise RequestDeniedError(409, "passkey", "this passkey is registered already", "use it to log in")
    registry.audit_log.write("passkey-added", user=user, passkey=_short(verified.credential_id), name=name)


def ask(registry: Registry, *, url: str) -> Ceremony:
    """Begin a login by a passkey: whose it is, the answer says."""
    secret, challenge = secrets.token_urlsafe(32), secrets.token_bytes(32)
    options = webauthn.generate_authentication_options(
        rp_id=rp_id(url), challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
    )
    _remember(registry, secret, challenge, kind="passkey", user_id=None)
    return Ceremony(webauthn.options_to_json(options), secret)


def log_in(registry: Registry, *, url: str, secret: str, answer: str, replaces: str | None = None) -> NewSession:
    """A session for the account whose passkey signed the challenge.

    Raises:
        WrongCodeError: an unknown passkey, a wrong signature, origin or challenge, or a count that went back.
        RequestDeniedError: 400 where the login took too long; 403 where the account is disabled.
    """
    challenge = _recall(registry, secret, kind="passkey", user_id=None)
    try:
        said = strict_json.loads(answer)
        known = logins.find_passkey(registry.database.connection(), base64url_to_bytes(said["rawId"]))
        if known is None:
            raise WrongCodeError("a passkey of no account")
        verified = webauthn.verify_authentication_response(
            credential=said, expected_challenge=challenge, expected_rp_id=rp_id(url), expected_origin=url,
            credential_public_key=known["public_key"], credential_current_sign_count=known["sign_count"],
            require_user_verification=True,
        )  # fmt: skip
    except _WRONG as error:
        raise WrongCodeError("a passkey that did not verify") from error
    with registry.database.writing() as db:
        logins.use_passkey(db, known["credential"], sign_count=verified.new_sign_count, now=stamp())
    return sessions.begin(registry, known["user_id"], method="passkey", replaces=replaces)


def remove(registry: Registry, user_id: int, user: str, credential: str) -> None:
    """Forget one of the account's passkeys.

    Raises:
        RequestDeniedError: 404 where it has none such.
    """
    try:
        identity = base64.urlsafe_b64decode(credential + "==")
    except ValueError as error:
        raise malformed("this is no passkey") from error
    with registry.database.writing() as db:
        gone = logins.remove_passkey(db, user_id, identity)
    if not gone:
        raise RequestDeniedError(404, "passkey", "you have no such passkey", "the page lists yours")
    registry.audit_log.write("passkey-removed", user=user, passkey=_short(identity))


def rp_id(url: str) -> str:
    """The name that passkeys are bound to: the host of the registry's address."""
    return urlsplit(url).hostname or ""


def _handle(registry: Registry, user_id: int) -> bytes:
    """What an authenticator knows the account by: no name, and another one at another registry."""
    return hashlib.sha256(f"{registry.setting('root_fingerprint')} {user_id}".encode()).digest()


def _remember(registry: Registry, secret: str, challenge: bytes, *, kind: str, user_id: int | None) -> None:
    expires = stamp(now() + timedelta(minutes=MINUTES))
    with registry.database.writing() as db:
        sessions.make_room(db)
        logins.add_attempt(
            db, auth.digest(secret), kind=kind, challenge=bytes_to_base64url(challenge), expires=expires,
            user_id=user_id, address=sessions.begun_at(),
        )  # fmt: skip


def _recall(registry: Registry, secret: str, *, kind: str, user_id: int | None) -> bytes:
    with registry.database.writing() as db:
        row = logins.use_attempt(db, auth.digest(secret), kind=kind, now=stamp())
    if row is None or row["user_id"] != user_id:
        raise RequestDeniedError(400, "passkey", "this took too long, or was sent twice", "begin again")
    return base64url_to_bytes(row["challenge"])


def _short(credential: bytes) -> str:
    return hashlib.sha256(credential).hexdigest()[:12]
