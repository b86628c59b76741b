"""Terms of a gated repository: what an account accepts before it reads the files. A new text is a new version.

Accepting is part of asking for access (`access.ask`). Members of the namespace and admins read without it.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any

from embhub_registry.database.clock import stamp
from embhub_registry.database.people import terms as rows
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.people.terms import Terms
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people import auth
from embhub_registry.repositories import repos
from embhub_registry.storage.folder import Registry

LONGEST = 20_000  # characters


def show(registry: Registry, account: Account | None, namespace: str, name: str) -> dict[str, Any]:
    """The terms in force, for everybody who may see the repository.

    Raises:
        RequestDeniedError: 404.
    """
    db = registry.database.connection()
    repository = repos.locate(db, account, namespace, name)
    return to_json(repository.full_name, rows.find(db, repository.id))


def write(registry: Registry, account: Account | None, namespace: str, name: str, text: str) -> dict[str, Any]:
    """A new version of the terms, empty to end them. The same text again changes nothing.

    Whoever accepted an earlier version is asked anew, and reads no file until then.

    Raises:
        RequestDeniedError: 400 for a text that cannot be shown or a repository without a gate, 403 for who may not.
    """
    text = tidy(text)
    if len(text) > LONGEST or not all(char.isprintable() or char == "\n" for char in text):
        raise malformed(f"terms are plain text of at most {LONGEST:,} characters")
    with registry.database.writing() as db:
        repository = repos.locate(db, account, namespace, name)
        keeper = auth.require(account, namespace, "settings")
        if text and not repository.gated:
            raise RequestDeniedError(
                400, "access", f"{repository.full_name} is not gated", "nobody is asked to accept terms: gate it first"
            )
        last = rows.find_last(db, repository.id)
        if text == (last.text if last else ""):
            return to_json(repository.full_name, last if text else None)
        version = last.version + 1 if last else 1
        made = Terms(version, text, hashlib.sha256(text.encode()).hexdigest(), stamp(), keeper.user)
        rows.add(db, repository.id, made)
    registry.audit_log.write(
        "terms-written", user=keeper.user, repository=repository.full_name, version=version, digest=made.digest,
        ended=not text or None,
    )  # fmt: skip
    return to_json(repository.full_name, made if text else None)


def tidy(text: str) -> str:
    """The text with `\\n` at the end of lines, and plain spaces for tabs and for every other kind of space."""
    lines = text.replace("\r\n", "\n").strip().expandtabs(4)
    return "".join(" " if unicodedata.category(char) == "Zs" else char for char in lines)


def to_json(repository: str, terms: Terms | None) -> dict[str, Any]:
    """What `GET /embhub/v1/terms/{id}` answers; `terms` is null where there are none. Who wrote them stays out."""
    said = None
    if terms is not None:
        said = {"version": terms.version, "text": terms.text, "sha256": terms.digest, "written": terms.written}
    return {"repository": repository, "terms": said}
