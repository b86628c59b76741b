"""The Hub's JSON shapes, as `huggingface_hub` reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import PlainTextResponse, Response

from embhub_registry.database.connection import Row
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases.access import Access
from embhub_registry.database.releases.repositories import Entry, Repository, Revision

LONGEST_WORD = 150  # of what stands beside a row; a longer one is in its `cardData`

# What the Hub's clients may ask for by `expand`; `embhub` and `standing` are ours.
EXPANDABLE = frozenset(
    [
        "author", "baseModels", "cardData", "childrenModelCount", "config", "createdAt", "disabled", "downloads",
        "downloadsAllTime", "embhub", "evalResults", "gated", "gguf", "inference", "inferenceProviderMapping",
        "lastModified", "library_name", "likes", "mask_token", "model-index", "pipeline_tag", "private",
        "resourceGroup", "safetensors", "securityRepoStatus", "sha", "siblings", "spaces", "standing", "tags",
        "transformersInfo", "trendingScore", "usedStorage", "widgetData", "xetEnabled",
    ]
)  # fmt: skip


def done() -> Response:
    """What the Hub answers where something was done and there is nothing to tell: two letters of text, not JSON."""
    return PlainTextResponse("OK")


def whoami(account: Account) -> dict[str, Any]:
    """`GET /api/whoami-v2`; `namespace` and `role` are ours, also that of each organisation."""
    writes = account.scope != "read" and bool(account.roles & {"publisher", "auditor", "admin"})
    words = {"admin": "admin", "publisher": "write", "auditor": "write"}
    return {
        "type": "user",
        "id": str(account.user_id),
        "name": account.user,
        "fullname": account.user,
        "email": None,
        "isPro": False,
        "orgs": [{"type": "org", "name": name, "fullname": name, "role": account.role_in(name),
                  "roleInOrg": words.get(account.role_in(name) or "", "read")} for name in account.namespaces],
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
        "_id": hashlib.sha256(repository.full_name.encode()).hexdigest()[:24],  # a number would count private ones
        "id": repository.full_name,
        "modelId": repository.full_name,
        "author": repository.namespace,
        "sha": sha,
        "lastModified": repository.modified,
        "createdAt": repository.created,
        "private": repository.private,
        "gated": repository.gated or False,
        "disabled": repository.disabled,
        "downloads": repository.downloads,
        "downloadsAllTime": repository.downloads,
        "likes": 0,
        "trendingScore": 0,
        "tags": list(tags),
    }
    front = repository.summary.get("front_matter") or {}
    for name in ("pipeline_tag", "library_name"):
        if isinstance(value := front.get(name), str) and len(value) <= LONGEST_WORD:
            found[name] = value
    if card:
        found["cardData"] = {key: value for key, value in front.items() if key != "embhub"}
        found["embhub"] = repository.summary.get("release")
        if repository.hidden and found["embhub"]:
            found["embhub"] = {**found["embhub"], "recommended": False}
    if entries is not None:
        found["siblings"] = [sibling(entry, blobs=blobs) for entry in entries]
        found["usedStorage"] = sum(entry.size for entry in entries)
    return found


def expanded(answer: dict[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    """Only what `expand` names, and the id; null where this registry has no such thing."""
    if not wanted:
        return answer
    always = {key: answer[key] for key in ("_id", "id", "modelId")}
    return always | {key: answer.get(key) for key in sorted(wanted)}


def sibling(entry: Entry, *, blobs: bool) -> dict[str, Any]:
    """One file of a model's answer."""
    return {"rfilename": entry.path} | ({"size": entry.size, "blobId": entry.git_oid} if blobs else {})


LastChanges = Mapping[str, Revision]  # path -> the commit that last changed it; empty where nobody asked


def own_repository(row: Row, held: int) -> dict[str, Any]:
    """One line of `hf repos ls`: a row of `usage.of_repositories`, beside how many bytes its namespace holds."""
    return {
        "_id": row["id"], "id": f"{row['namespace']}/{row['name']}", "type": "model", "updatedAt": row["modified"],
        "visibility": "private" if row["private"] else "public", "storage": int(row["bytes"]),
        "storagePercent": 100 * int(row["bytes"]) / held if held else 0,
    }  # fmt: skip


def file(entry: Entry, last: LastChanges) -> dict[str, Any]:
    """One file of a tree; `sha256` is ours."""
    found: dict[str, Any] = {
        "type": "file", "path": entry.path, "size": entry.size, "oid": entry.git_oid, "sha256": entry.digest,
    }  # fmt: skip
    return found | _last(last, entry.path)


def folder(path: str, entries: Sequence[Entry], last: LastChanges) -> dict[str, Any]:
    """One folder of a tree; its id stands for what it holds."""
    inside = "".join(f"{e.path}\0{e.git_oid}\0" for e in entries if e.path.startswith(f"{path}/"))
    oid = hashlib.sha256(inside.encode()).hexdigest()[:40]
    found: dict[str, Any] = {"type": "directory", "path": path, "size": 0, "oid": oid}
    return found | _last(last, path)


def tree(entries: Sequence[Entry], below: str, *, recursive: bool, last: LastChanges) -> list[dict[str, Any]]:
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


def commit(revision: Revision, *, formatted: bool = False) -> dict[str, Any]:
    """One line of a history; titles and messages are plain text, `formatted` or not."""
    found: dict[str, Any] = {
        "id": revision.id, "title": revision.title, "message": revision.message, "date": revision.created,
        "authors": [{"user": revision.author, "avatar": ""}],
    }  # fmt: skip
    return found | ({"formatted": {"title": revision.title, "message": revision.message}} if formatted else {})


def access_request(item: Access) -> dict[str, Any]:
    """One request for a gated repository's files; `terms`, ours, is what its account accepted last."""
    accepted = {"version": item.terms_version, "sha256": item.terms_digest, "accepted": item.terms_accepted}
    return {
        "requestId": item.id, "status": item.status, "timestamp": item.requested,
        "user": {"_id": item.user, "user": item.user, "fullname": item.user, "type": "user", "org": item.namespace},
        "terms": accepted if item.terms_version else None,
    } | ({"rejectionReason": item.reason} if item.reason else {})  # fmt: skip


def _last(last: LastChanges, path: str) -> dict[str, Any]:
    if path not in last:
        return {}
    revision = last[path]
    return {"lastCommit": {"id": revision.id, "title": revision.title, "date": revision.created}}
