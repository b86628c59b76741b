"""Logging in at an OpenID provider: authorisation code flow with PKCE, state and nonce (OpenID Connect Core 1.0).

The provider says who somebody is and in which groups; the setting `oidc.groups` says what those groups may do here. An
account is made at the first login, and only where a mapped group says so. It is never joined to an account that the
operator made, whatever names the provider sends.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import logins
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people import auth
from embhub_registry.people.login import group_roles, provider_metadata, sessions
from embhub_registry.people.login.provider_metadata import unavailable
from embhub_registry.people.login.sessions import NewSession
from embhub_registry.storage import configuration, outgoing
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.logs import log
from embhub_registry.storage.outgoing import SendingError

CALLBACK = "/login/provider/callback"
MINUTES = 10
SLACK = 30  # seconds by which two clocks may differ
ADDRESSES = ("authorization_endpoint", "token_endpoint")
SENT = ("accept", "authorization", "content-type")
ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]  # no `none`, and nothing with a shared secret


@dataclass(frozen=True)
class Settings:
    """What the operator chose."""

    issuer: str
    client_id: str
    secret: str
    claim: str
    hosts: tuple[str, ...] = ()  # that may be inside the network, or take plain http


@dataclass(frozen=True)
class Flow:
    """Where the browser goes, and the cookie that it has to bring back."""

    address: str
    secret: str


def is_set(registry: Registry) -> bool:
    """Whether people can log in at a provider here."""
    db = registry.database.connection()
    return bool(configuration.word(db, "oidc.issuer") and configuration.word(db, "oidc.client_id"))


def host(registry: Registry) -> str:
    """The provider's host, as a login page names it; empty where no provider is set."""
    db = registry.database.connection()
    return urlsplit(configuration.word(db, "oidc.issuer")).hostname or "" if is_set(registry) else ""


def begin(
    registry: Registry, *, url: str, user_id: int | None = None, replaces: str | None = None, back: str = ""
) -> Flow:
    """Send a browser to the provider.

    Args:
        registry: The registry that somebody logs in to.
        url: The registry's address.
        user_id: Somebody who is logged in and has to prove again who they are.
        replaces: Their session, which ends with the new one's begin.
        back: The path that they go on to after (`back_of`). It is part of the cookie's secret, so that nobody who
            changes it has the secret any more.

    Raises:
        RequestDeniedError: 404 where no provider is set; 502 where it does not answer as it should.
    """
    settings = _settings(registry)
    random, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
    secret = f"{random}.{base64.urlsafe_b64encode(back.encode()).decode().rstrip('=')}"
    again = {"prompt": "login", "max_age": "0"} if user_id is not None else {}
    with _client(settings, url) as client:
        metadata = provider_metadata.metadata(settings.issuer, *ADDRESSES, allowed=settings.hosts)
        address, _ = client.create_authorization_url(
            metadata["authorization_endpoint"], state=_state(secret), nonce=nonce, code_verifier=verifier, **again
        )
    with registry.database.writing() as db:
        sessions.make_room(db)
        logins.add_attempt(
            db, auth.digest(secret), kind="provider", challenge=nonce, verifier=verifier, user_id=user_id,
            replaces=replaces, expires=stamp(now() + timedelta(minutes=MINUTES)), address=sessions.begun_at(),
        )  # fmt: skip
    return Flow(address, secret)


def back_of(secret: str) -> str:
    """The path that a login was begun with; empty where the cookie, which a browser sent, has none."""
    coded = secret.partition(".")[2]
    try:
        return base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode()
    except ValueError:
        return ""


def finish(registry: Registry, answer: Mapping[str, str], *, secret: str, url: str) -> NewSession:
    """A session for the person whom the provider names, with the roles that their groups give.

    Args:
        registry: The registry that they log in to.
        answer: The query that the provider sent the browser back with.
        secret: The cookie that the browser brought back.
        url: The registry's address.

    Returns:
        the session.

    Raises:
        RequestDeniedError: 403 where anything is not as it should be, or no group of theirs has a role here.
    """
    settings = _settings(registry)
    if not hmac.compare_digest(answer.get("state", "").encode(), _state(secret).encode()):
        raise refused("the answer does not belong to this browser's login")
    with registry.database.writing() as db:
        attempt = logins.use_attempt(db, auth.digest(secret), kind="provider", now=stamp())
    if attempt is None:
        raise refused("the login took too long, or its answer came twice")
    if answer.get("iss", settings.issuer) != settings.issuer:  # RFC 9207
        raise refused("the answer is of another issuer")
    if "code" not in answer:
        raise refused(f"the provider answered {answer.get('error', 'without a code')[:60]!a}")
    with _client(settings, url) as client:
        metadata = provider_metadata.metadata(settings.issuer, *ADDRESSES, allowed=settings.hosts)
        token = _exchange(client, metadata, answer["code"], attempt["verifier"])
    keys = provider_metadata.keys_for(token, settings.issuer, allowed=settings.hosts)
    claims = check_id_token(token, keys, settings, nonce=attempt["challenge"])
    if attempt["user_id"] is not None:
        _check_again(registry, claims, settings, attempt["user_id"])
    groups = claims.get(settings.claim)
    named = [group for group in groups if isinstance(group, str)] if isinstance(groups, list) else []
    user_id = group_roles.settle(registry, settings.issuer, claims, named)
    return sessions.begin(registry, user_id, method="provider", replaces=attempt["replaces"], proved=_proved_at(claims))


def _proved_at(claims: Mapping[str, Any]) -> datetime:
    """When the person last proved to the provider who they are: single sign-on alone is no fresh proof."""
    said = claims.get("auth_time")
    seconds = int(said) if isinstance(said, int | float) and 0 < said < 1e11 else 0
    return datetime.fromtimestamp(min(seconds, int(time.time())), UTC)


def check_id_token(token: str, keys: Mapping[str, Any], settings: Settings, *, nonce: str) -> dict[str, Any]:
    """The claims of an ID token that is the provider's, for this registry, for this login, and not over.

    Args:
        token: The ID token as the provider sent it.
        keys: The provider's key set (RFC 7517).
        settings: Who the provider and the registry are.
        nonce: What this login was begun with.

    Returns:
        the claims.

    Raises:
        RequestDeniedError: 403 with what is wrong.
    """
    present = int(time.time())
    try:
        decoded = jwt.decode(token, KeySet.import_key_set(dict(keys)), algorithms=ALGORITHMS)  # type: ignore[arg-type]
        jwt.JWTClaimsRegistry(
            now=present, leeway=SLACK, iss={"essential": True, "value": settings.issuer}, sub={"essential": True},
            aud={"essential": True}, exp={"essential": True}, iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(decoded.claims)  # fmt: skip
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise refused(f"the ID token is refused: {str(error)[:200]}") from error
    claims = dict(decoded.claims)
    if claims["aud"] not in (settings.client_id, [settings.client_id]) or claims.get("azp", settings.client_id) != (
        settings.client_id
    ):
        raise refused("the ID token is for another audience")
    if not isinstance(claims["exp"], int | float) or claims["exp"] <= present - SLACK:
        raise refused("the ID token has expired")
    if not 1 <= len(claims["sub"]) <= 255:
        raise refused("the ID token names nobody")
    return claims


def refused(reason: str) -> RequestDeniedError:
    """403: nobody is logged in."""
    return RequestDeniedError(403, "login", f"the login at the provider failed: {reason}", "log in again")


def _check_again(registry: Registry, claims: Mapping[str, Any], settings: Settings, user_id: int) -> None:
    """A proof that is asked for again is of the same person, and new."""
    known = logins.find_identity(registry.database.connection(), settings.issuer, str(claims["sub"]))
    if known != user_id:
        raise refused("the provider names somebody else than the person who is logged in")
    proved = claims.get("auth_time")
    if not isinstance(proved, int | float) or time.time() - proved > sessions.CONFIRMED_FOR.total_seconds():
        raise refused("the provider did not ask again who you are")


def _settings(registry: Registry) -> Settings:
    db = registry.database.connection()
    issuer, client_id, file, claim = (
        configuration.word(db, f"oidc.{name}") for name in ("issuer", "client_id", "secret_file", "groups_claim")
    )
    if not issuer or not client_id:
        raise RequestDeniedError(404, "login", "this registry has no provider", "log in with a passkey or a code")
    try:
        secret = Path(file).read_text().strip() if file else ""
    except (OSError, ValueError) as error:
        log("error", "the provider's client secret cannot be read", file=file, reason=str(error))
        raise unavailable("the registry cannot read its client secret") from error
    return Settings(issuer, client_id, secret, claim, outgoing.allowed_hosts(db))


def _client(settings: Settings, url: str) -> OAuth2Client:
    return OAuth2Client(
        client_id=settings.client_id, client_secret=settings.secret or None, scope="openid profile",
        redirect_uri=url + CALLBACK, code_challenge_method="S256", transport=_Outgoing(settings.hosts),
        token_endpoint_auth_method="client_secret_basic" if settings.secret else "none", trust_env=False,
    )  # fmt: skip


class _Outgoing(httpx2.BaseTransport):
    """Authlib's requests, by the one way out."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = allowed

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises SendingError where there is no answer."""
        answer = outgoing.ask(
            "login", str(request.url), method=request.method, body=request.read(), allowed=self._allowed,
            headers={name: request.headers[name] for name in SENT if name in request.headers},
        )  # fmt: skip
        return httpx2.Response(answer.status, headers={"Content-Type": answer.content_type}, content=answer.body)


def _exchange(client: OAuth2Client, metadata: Mapping[str, Any], code: str, verifier: str) -> str:
    """The ID token for a code, which the provider gives once."""
    try:
        answer = client.fetch_token(
            metadata["token_endpoint"], code=code, code_verifier=verifier, grant_type="authorization_code"
        )
    except OAuthError as error:
        raise refused(f"the provider does not accept the code ({str(error.error)[:60]})") from error
    except (SendingError, httpx2.HTTPError, ValueError) as error:
        raise unavailable("it does not answer as it should") from error
    token = answer.get("id_token") if isinstance(answer, dict) else None
    if not isinstance(token, str):
        raise refused("the provider sent no ID token")
    return token


def _state(secret: str) -> str:
    """Bound to the cookie: who has not the cookie cannot send its answer (RFC 6749 section 10.12)."""
    return hmac.digest(secret.encode(), b"embhub state", "sha256").hex()
