"""Logging in by a code: TOTP (RFC 6238) from an authenticator app, or a recovery code. There are no passwords."""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass

import pyotp
import segno

from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts, logins
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people import auth
from embhub_registry.people.login import sessions
from embhub_registry.people.login.sessions import NewSession
from embhub_registry.people.secret_box import SealedElsewhereError, open_sealed, seal
from embhub_registry.storage.folder import Registry

STEP = 30  # seconds
SLACK = 1  # steps by which a clock may be off, either way
RECOVERY_CODES = 10
_GROUPS, _OF_EACH = 4, 4  # of a recovery code
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without letters that look alike


@dataclass(frozen=True)
class Enrolment:
    """A secret that is not kept yet: `sealed` comes back with its first code."""

    sealed: str
    secret: str
    qr: str


class WrongCodeError(Exception):
    """The code does not let this account in; `user` is the account if it exists. The caller is told no more."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def propose(registry: Registry, user: str) -> Enrolment:
    """A new secret for an account, as text and as a QR code (inline SVG) that authenticator apps read."""
    secret = pyotp.random_base32()
    address = pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=registry.setting("name"))
    qr = segno.make(address, error="m", micro=False).svg_inline(scale=5, border=4, title="QR code")
    sealed = seal(registry, f"{int(time.time())} {secret}".encode(), about=f"new totp {user}")
    return Enrolment(base64.urlsafe_b64encode(sealed).decode(), secret, qr)


def enrol(registry: Registry, user_id: int, user: str, *, sealed: str, code: str) -> list[str]:
    """Keep a proposed secret whose code is right; the recovery codes, shown once.

    Raises:
        RequestDeniedError: 400 where the code is wrong, or the proposal is another's or older than 15 minutes.
    """
    try:
        opened = open_sealed(registry, base64.urlsafe_b64decode(sealed), about=f"new totp {user}").decode()
    except (SealedElsewhereError, ValueError) as error:
        raise malformed("this is no proposal of this registry", "begin again") from error
    made, _, secret = opened.partition(" ")
    if time.time() - int(made) > 900:
        raise malformed("this QR code is older than 15 minutes", "begin again")
    step = _matching_step(secret, code, after=0)
    if step is None:
        raise RequestDeniedError(
            400, "code", "the code does not match", "scan the new QR code, and enter the six digits that it shows now"
        )
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    kept = seal(registry, secret.encode(), about=f"totp {user_id}")
    with registry.database.writing() as db:
        logins.set_totp(db, user_id, kept, now=stamp(), step=step)
        logins.set_recovery_codes(db, user_id, [auth.digest(_tidy(code)) for code in codes], now=stamp())
    registry.audit_log.write("totp-set", user=user)
    return codes


def renew_recovery_codes(registry: Registry, user_id: int, user: str) -> list[str]:
    """New recovery codes in place of the old ones, shown once."""
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    with registry.database.writing() as db:
        logins.set_recovery_codes(db, user_id, [auth.digest(_tidy(code)) for code in codes], now=stamp())
    registry.audit_log.write("recovery-codes-set", user=user)
    return codes


def remove(registry: Registry, user_id: int, user: str) -> None:
    """Forget the account's TOTP and its recovery codes."""
    with registry.database.writing() as db:
        gone = logins.remove_totp(db, user_id)
    if gone:
        registry.audit_log.write("totp-removed", user=user)


def log_in(registry: Registry, user: str, code: str, *, replaces: str | None = None) -> NewSession:
    """A session for an account whose TOTP or recovery code this is; each code counts once.

    Raises:
        WrongCodeError: no such account, no TOTP, a wrong code, or one that was used.
        RequestDeniedError: 403 where the account is disabled.
    """
    db = registry.database.connection()
    row = accounts.find_user(db, user)
    if row is None:
        raise WrongCodeError("a login code for no account")
    if _use_totp(registry, row["id"], code):
        return sessions.begin(registry, row["id"], method="totp", replaces=replaces)
    with registry.database.writing() as db:
        used = len(code) <= 40 and logins.use_recovery_code(db, row["id"], auth.digest(_tidy(code)), now=stamp())
        left = logins.count_recovery_codes(db, row["id"])
    if not used:
        raise WrongCodeError(f"a wrong login code for {row['name']}")
    registry.audit_log.write("recovery-code-used", user=row["name"], left=left)
    return sessions.begin(registry, row["id"], method="recovery", replaces=replaces)


def _use_totp(registry: Registry, user_id: int, code: str) -> bool:
    found = logins.find_totp(registry.database.connection(), user_id)
    if found is None or found["confirmed"] is None:
        return False
    try:
        secret = open_sealed(registry, found["secret"], about=f"totp {user_id}").decode()
    except SealedElsewhereError:
        return False  # restored without its key: a new login link helps
    step = _matching_step(secret, code, after=found["last_step"])
    if step is None:
        return False
    with registry.database.writing() as db:
        return logins.use_totp_step(db, user_id, step)


def _matching_step(secret: str, code: str, *, after: int) -> int | None:
    """The time step whose code this is, later than `after`; every candidate is compared in constant time."""
    digits = "".join(code.split())
    if len(digits) != 6 or not (digits.isascii() and digits.isdigit()):
        return None
    totp, present = pyotp.TOTP(secret), int(time.time()) // STEP
    steps = range(present - SLACK, present + SLACK + 1)
    right = [step for step in steps if secrets.compare_digest(totp.generate_otp(step), digits)]
    return next((step for step in right if step > after), None)


def looks_like_recovery_code(code: str) -> bool:
    """Whether a text has the length of one; none of that length is taken for the six digits of an app."""
    return len(_tidy(code)) == _GROUPS * _OF_EACH


def _recovery_code() -> str:
    """About 79 random bits in four groups."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_OF_EACH)) for _ in range(_GROUPS))


def _tidy(code: str) -> str:
    return "".join(code.lower().replace("-", " ").split())
