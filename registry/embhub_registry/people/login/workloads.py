"""Workload identity: a job in CI shows its provider's OIDC token and gets an access token for one repository.

A trusted publisher is a rule: issuer, audience and claims, which a token has to have to the letter. Who may publish in
a namespace may register one. The exchange is RFC 8693's, in the form that huggingface_hub speaks.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from embhub.formats import strict_json
from embhub_registry.database import Connection
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import accounts, workloads
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.people.workloads import Publisher
from embhub_registry.database.standing import offboarding
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people import auth
from embhub_registry.people.login import provider_metadata
from embhub_registry.people.login.provider import ALGORITHMS
from embhub_registry.people.names import RESERVED_USERS, check_repository
from embhub_registry.storage import outgoing
from embhub_registry.storage.folder import Registry

MINUTES = 15  # that the access token lasts
SLACK = 30  # seconds by which two clocks may differ
LONGEST_LIFE = 86_400  # seconds between `iat` and `exp`: no job lasts longer
LONGEST_TOKEN = 16_000
MOST_CLAIMS, LONGEST_VALUE = 20, 300
MOST_PUBLISHERS = 100  # of a namespace
_CLAIM = re.compile(r"[a-zA-Z0-9_.:/-]{1,100}")
_OWN_CLAIMS = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})
# Names can be given up and registered again by somebody else; these ids cannot.
IDS = {
    "repository": ("repository_id",),
    "repository_owner": ("repository_owner_id",),
    "project_path": ("project_id",),
    "namespace_path": ("namespace_id", "project_id"),
    "workflow_ref": ("repository_id", "repository_owner_id"),
    "job_workflow_ref": ("repository_id", "repository_owner_id"),
    "ci_config_ref_uri": ("project_id", "namespace_id"),
    "sub": ("repository_id", "repository_owner_id", "project_id", "namespace_id"),  # where it holds a path
}


class ExchangeError(Exception):
    """Why there is no token: `code` in the words of RFC 6749 and 8693, `reason` and `detail` for the audit log alone.

    There are few reasons; a detail can hold what the token says.
    """

    def __init__(self, code: str, reason: str, *, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.code, self.reason, self.detail = code, reason, detail


@dataclass(frozen=True)
class Issued:
    """An access token for a workload."""

    secret: str
    token_id: str
    expires: str
    publisher: Publisher


def register(
    registry: Registry, account: Account, *, repository: str, issuer: str, audience: str, claims: Mapping[str, str],
    scope: str = "publish",
) -> Publisher:  # fmt: skip
    """A new trusted publisher, with an account of its own under which its commits are made.

    Args:
        registry: The registry.
        account: Who registers it; has to be allowed to publish in the repository's namespace.
        repository: `namespace/name`; it need not exist yet.
        issuer: The provider's name for itself: an https address.
        audience: The `aud` that tokens have to have.
        claims: What else they have to say, to the letter.
        scope: `publish` or `read`.

    Returns:
        the trusted publisher.

    Raises:
        RequestDeniedError: 400 for what no token can be checked against; 403 for who may not; 409 with too many.
    """
    namespace, _, name = repository.partition("/")
    auth.require(account, namespace, "trust-workloads")
    check_repository(namespace, name)
    allowed = outgoing.allowed_hosts(registry.database.connection())
    issuer = outgoing.check_url(issuer.strip(), what="an issuer", allowed=allowed, query=False)
    audience = _check_value("audience", audience)
    wanted = _check_claims(claims)
    if scope not in ("publish", "read"):
        raise malformed("the scope is publish or read")
    identity = secrets.token_hex(4)
    with registry.database.writing() as db:
        if not accounts.namespace_exists(db, namespace):
            raise RequestDeniedError(404, "namespace", f"there is no namespace {namespace!a}", "create it first")
        if workloads.count_in_force(db, namespace) >= MOST_PUBLISHERS:
            raise RequestDeniedError(
                409, "publishers", f"{namespace} has {MOST_PUBLISHERS} trusted publishers", "end some"
            )
        role = "publisher" if scope == "publish" else "reader"
        user_id = accounts.add_user(db, name=f"workload-{identity}", namespace=namespace, role=role, now=stamp())
        workloads.add(
            db, identity, user_id, namespace=namespace, repository=repository, issuer=issuer, audience=audience,
            claims=wanted, scope=scope, created_by=account.user, now=stamp(),
        )  # fmt: skip
        made = workloads.find(db, identity)
    assert made is not None  # noqa: S101  # made within the same transaction
    registry.audit_log.write(
        "publisher-added", publisher=identity, repository=repository, issuer=issuer, audience=audience, claims=wanted,
        scope=scope, user=account.user,
    )  # fmt: skip
    return made


def end(registry: Registry, account: Account, identity: str) -> Publisher:
    """End a trusted publisher and the access tokens that it was given.

    Raises:
        RequestDeniedError: 404 where none such is in force that the account may end.
    """
    with registry.database.writing() as db:
        found = workloads.find(db, identity)
        allowed = found is not None and auth.may(account, found.namespace, "trust-workloads")
        if found is None or not allowed or not workloads.end(db, identity, now=stamp()):
            raise RequestDeniedError(404, "publisher", "there is no such trusted publisher in force", "open the page")
        accounts.set_disabled(db, found.user_id, stamp())
    registry.audit_log.write("publisher-ended", publisher=identity, repository=found.repository, user=account.user)
    return found


def end_made_by(db: Connection, user: str, *, namespace: str | None = None) -> list[str]:
    """End the trusted publishers that somebody registered, in one namespace or in all; returns them in words.

    Whoever registered a workload may still control it: its rule ends with their role.
    """
    found = offboarding.publishers_made_by(db, user, namespace=namespace)
    for row in found:
        workloads.end(db, row["id"], now=stamp())
        accounts.set_disabled(db, row["user_id"], stamp())
    return [f"{row['id']} ({row['repository']})" for row in found]


def exchange(registry: Registry, token: str, *, resource: str, clock: float | None = None) -> Issued:
    """An access token for 15 minutes and one repository, for a workload whose token a trusted publisher accepts.

    Args:
        registry: The registry.
        token: The workload's OIDC token (a signed JWT).
        resource: `namespace/name` of the repository.
        clock: Seconds since 1970; the present by default.

    Returns:
        the access token.

    Raises:
        ExchangeError: the token is not accepted, or its provider does not answer as it should.
    """
    present = int(time.time() if clock is None else clock)
    db = registry.database.connection()
    rules = find_rules(registry, token, resource=resource)
    claims = _verified(token, rules[0].issuer, present, allowed=outgoing.allowed_hosts(db))
    publisher = _choose([rule for rule in rules if _vouched_for(db, rule)], claims)
    made = auth.make_token()
    expires = stamp(now() + timedelta(minutes=MINUTES))
    mark, over = _mark(publisher.issuer, claims, token), datetime.fromtimestamp(int(claims["exp"]) + 2 * SLACK, UTC)
    with registry.database.writing() as db:
        same = workloads.find_in_force(db, repository=resource, issuer=publisher.issuer) == rules
        if not same or not _vouched_for(db, publisher):
            raise ExchangeError("invalid_grant", "the trusted publishers were changed meanwhile")
        if not workloads.use_once(db, mark, expires=stamp(over)):
            raise ExchangeError("invalid_grant", "the token was used before")
        accounts.add_token(
            db, token_id=made.id, digest=made.digest, user_id=publisher.user_id, now=stamp(), expires=expires,
            scope=publisher.scope, purpose=f"workload of {resource}"[:60], only=resource,
        )  # fmt: skip
    registry.audit_log.write(
        "workload-token-issued", actor=publisher.user, publisher=publisher.id, repository=resource,
        issuer=publisher.issuer, subject=str(claims.get("sub"))[:200], jti=str(claims.get("jti"))[:100],
        token_id=made.id, expires=expires, scope=publisher.scope,
    )  # fmt: skip
    return Issued(made.secret, made.id, expires, publisher)


def find_rules(registry: Registry, token: str, *, resource: str) -> list[Publisher]:
    """The trusted publishers of a repository that take tokens of the issuer that a token names, which is not checked.

    Raises:
        ExchangeError: it is no signed JWT, or there are none.
    """
    issuer = _unverified(token).get("iss")
    db = registry.database.connection()
    found = workloads.find_in_force(db, repository=resource, issuer=issuer) if isinstance(issuer, str) else []
    if not found:
        raise ExchangeError("invalid_target", "no trusted publisher of the repository has this issuer")
    return found


def check_claims(wanted: Mapping[str, str], claims: Mapping[str, Any]) -> str | None:
    """The name of a claim that is not as it has to be; None where all are. Pure.

    Numbers and booleans count as JSON writes them: GitLab sends `ref_protected` as text, others as a boolean.
    """
    for name, value in wanted.items():
        found = claims.get(name)
        text = found if isinstance(found, str) else json.dumps(found) if isinstance(found, bool | int) else None
        if text != value:
            return name
    return None


def missing_id(claims: Mapping[str, str]) -> str | None:
    """The name of a claim that is given without the id that cannot be registered again; None where none is. Pure."""
    named = [name for name in IDS if name in claims and (name != "sub" or "/" in claims[name])]
    return next((name for name in named if not any(identity in claims for identity in IDS[name])), None)


def _verified(token: str, issuer: str, present: int, *, allowed: Sequence[str]) -> dict[str, Any]:
    try:
        keys = provider_metadata.keys_for(token, issuer, allowed=allowed)
    except RequestDeniedError as error:  # as for a repository without trusted publishers
        raise ExchangeError("invalid_grant", "the provider cannot be used", detail=error.message[:200]) from error
    try:
        decoded = jwt.decode(token, KeySet.import_key_set(dict(keys)), algorithms=ALGORITHMS)  # type: ignore[arg-type]
        jwt.JWTClaimsRegistry(
            now=present, leeway=SLACK, iss={"essential": True, "value": issuer}, aud={"essential": True},
            exp={"essential": True}, iat={"essential": True},
        ).validate(decoded.claims)  # fmt: skip
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise ExchangeError("invalid_grant", "the token is refused", detail=str(error)[:200]) from error
    claims = dict(decoded.claims)
    times = [claims["exp"], claims["iat"], claims.get("nbf", claims["iat"])]
    if any(isinstance(moment, bool) or not isinstance(moment, int) for moment in times):
        raise ExchangeError("invalid_grant", "the token's times are no whole numbers")
    if claims["exp"] <= present - SLACK or not 0 < claims["exp"] - claims["iat"] <= LONGEST_LIFE:
        raise ExchangeError("invalid_grant", "the token has expired, or it lasts for more than a day")
    return claims


def _vouched_for(db: Connection, rule: Publisher) -> bool:
    """Whether whoever registered a rule could do so now: they may control the workload, so it loses what they lose."""
    if rule.created_by in RESERVED_USERS:
        return True  # the operator
    found = accounts.find_user(db, rule.created_by)
    account = None if found is None else auth.find_account(db, found["id"])
    return account is not None and auth.may(account, rule.namespace, "trust-workloads")


def _choose(rules: Sequence[Publisher], claims: Mapping[str, Any]) -> Publisher:
    reasons = [] if rules else ["whoever registered the trusted publishers may not do so any more"]
    for rule in rules:
        if claims["aud"] not in (rule.audience, [rule.audience]):
            reasons.append(f"{rule.id}: another audience")
        elif wrong := check_claims(rule.claims, claims):
            reasons.append(f"{rule.id}: the claim {wrong} is another")
        else:
            return rule
    raise ExchangeError("invalid_grant", "; ".join(reasons)[:500])


def issuer_host(token: str) -> str:
    """The host of the issuer that a token names, which is not checked; empty where there is none. Pure."""
    try:
        return urlsplit(str(_unverified(token).get("iss"))).hostname or ""
    except (ExchangeError, ValueError):
        return ""


def _unverified(token: str) -> dict[str, Any]:
    """What a token says before anything is checked: good for finding the rules that it is checked by."""
    try:
        if len(token) > LONGEST_TOKEN:
            raise ValueError("too long")
        said = strict_json.loads(jws.extract_compact(token.encode()).payload)
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise ExchangeError("invalid_request", "the subject token is no signed JWT") from error
    return said if isinstance(said, dict) else {}


def _mark(issuer: str, claims: Mapping[str, Any], token: str) -> bytes:
    """What a token is known by: its `jti`, or else what was signed. The signature itself has several spellings."""
    jti = claims.get("jti")
    own = f"jti {jti}" if isinstance(jti, str) and jti else f"signed {token.rpartition('.')[0]}"
    return hashlib.sha256(f"{issuer}\n{own}".encode()).digest()


def _check_value(what: str, text: str) -> str:
    text = text.strip()
    if not text or not text.isprintable() or len(text) > LONGEST_VALUE:
        raise malformed(f"the {what} is one line of at most {LONGEST_VALUE} characters")
    return text


def _check_claims(claims: Mapping[str, str]) -> dict[str, str]:
    wanted = {name.strip(): _check_value(f"claim {name[:40]}", value) for name, value in claims.items()}
    odd = [name for name in wanted if not _CLAIM.fullmatch(name) or name in _OWN_CLAIMS]
    if not wanted or odd or len(wanted) > MOST_CLAIMS:
        raise malformed(
            f"name 1 to {MOST_CLAIMS} claims besides issuer and audience", "for example repository_id=123456"
        )
    if (name := missing_id(wanted)) is not None:
        raise malformed(
            f"the claim {name} is a name, which somebody else can register once it is given up",
            f"require {' or '.join(IDS[name])} as well",
        )
    if "sub" not in wanted and not any(name.endswith("_id") for name in wanted):
        raise malformed(
            "these claims name no workload: jobs of others at this provider can have the same",
            "require an id as well, for example repository_id=123456",
        )
    return wanted
