"""Commits as stock clients send them, without a client: a body in JSON lines, one plain request."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from tests.support.servers import Answer, RunningRegistry


def commit_body(files: Mapping[str, bytes], *, title: str = "Publish", parent: str | None = None) -> bytes:
    """The lines of a commit that writes `files`."""
    header = {"summary": title, "description": "", **({"parentCommit": parent} if parent else {})}
    lines = [{"key": "header", "value": header}]
    for path, data in files.items():
        content = base64.b64encode(data).decode()
        lines.append({"key": "file", "value": {"path": path, "encoding": "base64", "content": content}})
    return "\n".join(json.dumps(line) for line in lines).encode()


def commit(
    registry: RunningRegistry, name: str, files: Mapping[str, bytes], *, token: str, title: str = "Publish"
) -> Answer:
    """Send one commit to `main` of the repository `namespace/name`."""
    body = commit_body(files, title=title)
    headers = {"Content-Type": "application/x-ndjson"}
    return registry.request("POST", f"/api/models/{name}/commit/main", token=token, headers=headers, body=body)


def create(registry: RunningRegistry, name: str, *, token: str) -> Answer:
    """Create a repository in the caller's namespace."""
    return registry.request("POST", "/api/repos/create", token=token, json_body={"name": name, "type": "model"})
