"""`/.well-known/security.txt` (RFC 9116): whom to tell of a vulnerability, where the operator has named a contact."""

from __future__ import annotations

from datetime import datetime, timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from embhub_registry.database.clock import now
from embhub_registry.storage import configuration
from embhub_registry.storage.settings import Value
from embhub_registry.wire.request_context import registry_of

PATH = "/.well-known/security.txt"
VALID = timedelta(days=90)
"""How long a reader may rely on a copy. RFC 9116 recommends less than a year."""


async def security_txt(request: Request) -> Response:
    """The file, or 404 where the operator has named no contact."""
    registry = registry_of(request)
    db = registry.database.connection()
    contacts, policies = (configuration.read(db, f"security.{name}") for name in ("contact", "policy"))
    if not contacts:
        raise HTTPException(404)
    text = compose(contacts, policies, url=registry.setting("url"), moment=now())
    return PlainTextResponse(text, headers={"Cache-Control": "max-age=3600"})


def compose(contacts: Value, policies: Value, *, url: str, moment: datetime) -> str:
    """Write the file.

    Args:
        contacts: Addresses to report to, the preferred one first (`security.contact`).
        policies: Addresses of the disclosure policy (`security.policy`).
        url: The registry's own address.
        moment: The present, UTC.

    Returns:
        Lines of `Field: value`, as RFC 9116 section 2.5 defines them.
    """
    lines = [f"Contact: {address}" for address in contacts] if isinstance(contacts, tuple) else []
    lines += [f"Policy: {address}" for address in policies] if isinstance(policies, tuple) else []
    lines += [
        f"Expires: {(moment + VALID).strftime('%Y-%m-%dT%H:%M:%SZ')}",
        "Preferred-Languages: en",
    ]
    if url.startswith("https://"):  # the only scheme that RFC 9116 allows here
        lines.append(f"Canonical: {url}{PATH}")
    return "\n".join(lines) + "\n"
