"""The Hub's JSON shapes, as `huggingface_hub` reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from embhub_registry.database.accounts import Account
from embhub_registry.database.repositories import Entry, Repository, Revision


def whoami(account: Account) -> dict[str, Any]:
    """`GET /api/whoami-v2`; `namespace` and `role` are ours."""
    writes = account.role in {"publisher", "auditor", "admin"}
    return {
        "type": "user",
        "id": str(account.user_id),
        "name": account.user,
        "fullname": account.user,
        "email": None,
        "isPro": False,
        "orgs": [{"type": "org", "name": account.namespace, "fullname": account.namespace,
                  "roleInOrg": "admin" if account.role == "admin" else "write" if writes else "read"}],
        "auth": {"type": "access_token",
                 "accessToken": {"displayName": account.token_id, "role": "write" if writes else "read"}},
        "namespace": account.namespace,
        "role": account.role,
    }  # fmt: skip


def model(
    repository: Repository, tags: Sequence[str], *, sha: str | None,
    entries: Sequence[Entry] | None = None, blobs: bool = False, card: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """A repository as `ModelInfo` takes it; `siblings` only with `entries`."""
    found: dict[str, Any] = {
        "_id": str(repository.id),
        "id": repository.full_name,
        "modelId": repository.full_name,
        "author": repository.namespace,
        "sha": sha,
        "lastModified": repository.modified,
        "createdAt": repository.created,
        "private": repository.private,
        "gated": False,
        "disabled": False,
        "downloads": repository.downloads,
        "likes": 0,
        "tags": list(tags),
    }
    front = repository.summary.get("front_matter") or {}
    for name in ("pipeline_tag", "library_name"):
        if isinstance(front.get(name), str):
            found[name] = front[name]
    if card:
        found["cardData"] = {key: value for key, value in front.items() if key != "embhub"}
        found["embhub"] = repository.summary.get("release")
    if entries is not None:
        found["siblings"] = [sibling(entry, blobs=blobs) for entry in entries]
        found["usedStorage"] = sum(entry.size for entry in entries)
    return found


def sibling(entry: Entry, *, blobs: bool) -> dict[str, Any]:
    """One file of a model's answer."""
    return {"rfilename": entry.path} | ({"size": entry.size, "blobId": entry.git_oid} if blobs else {})


def file(entry: Entry, last: Revision | None = None) -> dict[str, Any]:
    """One file of a tree; `sha256` is ours."""
    found: dict[str, Any] = {
        "type": "file", "path": entry.path, "size": entry.size, "oid": entry.git_oid, "sha256": entry.digest,
    }  # fmt: skip
    return found | (_last(last) if last else {})


def folder(path: str, entries: Sequence[Entry], last: Revision | None = None) -> dict[str, Any]:
    """One folder of a tree; its id stands for what it holds."""
    inside = "".join(f"{e.path}\0{e.git_oid}\0" for e in entries if e.path.startswith(f"{path}/"))
    oid = hashlib.sha256(inside.encode()).hexdigest()[:40]
    found: dict[str, Any] = {"type": "directory", "path": path, "size": 0, "oid": oid}
    return found | (_last(last) if last else {})


def tree(
    entries: Sequence[Entry], below: str, *, recursive: bool, last: Revision | None = None
) -> list[dict[str, Any]]:
    """Files and folders under `below` ("" for the root), folders first as they come up."""
    prefix = f"{below}/" if below else ""
    shown: list[dict[str, Any]] = []
    seen: set[str] = set()
    for entry in entries:
        if not entry.path.startswith(prefix):
            continue
        steps = entry.path[len(prefix) :].split("/")
        for depth in range(1, len(steps) if recursive else min(len(steps), 2)):
            path = prefix + "/".join(steps[:depth])
            if path not in seen:
                seen.add(path)
                shown.append(folder(path, entries, last))
        if recursive or len(steps) == 1:
            shown.append(file(entry, last))
    return shown


def commit(revision: Revision) -> dict[str, Any]:
    """One line of a history."""
    return {
        "id": revision.id, "title": revision.title, "message": revision.message, "date": revision.created,
        "authors": [{"user": revision.author, "avatar": ""}],
    }  # fmt: skip


def _last(revision: Revision) -> dict[str, Any]:
    return {"lastCommit": {"id": revision.id, "title": revision.title, "date": revision.created}}
