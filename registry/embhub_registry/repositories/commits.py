"""The Hub's commit body: JSON lines with a header, files and deletions, read strictly, one line at a time.

Facts of the wire: `huggingface_hub/_commit_api.py` (`_prepare_commit_payload`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from embhub.formats import instants, strict_json
from embhub_registry.database.clock import now, stamp
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people.names import check_path, is_commit

MAX_BODY = 6_000_000  # base64 of the largest release that admission could take
MAX_LINE = 2_800_000  # base64 of the largest file
MAX_OPERATIONS = 100
_MAX_PARTS = 30  # of a line's JSON: an operation has seven
MAX_MESSAGE = 2_000
LONGEST_EMBARGO = timedelta(days=731)


@dataclass(frozen=True)
class CommitRequest:
    """What a client asks for.

    `deleted` names files, or folders that a client sent without a slash; `deleted_folders` are folders, slash removed.
    Until `embargo`, a time as the database writes it, nobody else sees what the commit holds.
    """

    title: str
    message: str
    parent: str | None
    files: Mapping[str, bytes]
    deleted: frozenset[str]
    deleted_folders: frozenset[str]
    embargo: str | None = None


class Reader:
    """Takes the lines of one commit as they arrive, and keeps what they ask for."""

    def __init__(self) -> None:
        self._header: Mapping[str, Any] | None = None
        self._files: dict[str, bytes] = {}
        self._deleted: set[str] = set()
        self._folders: set[str] = set()
        self._number = 0

    def take(self, line: bytes) -> None:
        """Read one line; a blank one says nothing, and counts.

        Raises:
            RequestDeniedError: 400 with what is wrong in which line.
        """
        self._number += 1
        if self._number > MAX_OPERATIONS + 1:
            raise too_many_files("commit")
        if not line.strip():
            return
        key, value = _operation(line, self._number)
        if key == "header":
            self._take_header(value)
        else:
            self._take_operation(key, value)

    def finish(self) -> CommitRequest:
        """The whole commit.

        Raises:
            RequestDeniedError: 400 where it has no header.
        """
        if self._header is None:
            raise malformed("the commit has no header line")
        return CommitRequest(
            title=_short(self._header, "summary") or "Commit",
            message=_short(self._header, "description"),
            parent=_parent(self._header),
            files=self._files,
            deleted=frozenset(self._deleted),
            deleted_folders=frozenset(self._folders),
            embargo=_embargo(self._header),
        )

    def _take_header(self, value: Mapping[str, Any]) -> None:
        if self._header is not None:
            raise malformed("a commit has one header, this one has two")
        self._header = value

    def _take_operation(self, key: str, value: Mapping[str, Any]) -> None:
        if key not in ("file", "deletedFile", "deletedFolder", "deletedEntry"):
            raise malformed(
                f"line {self._number}: {key[:40]!a} is not taken here",
                "this registry takes small files in the commit itself: no LFS and no Xet",
            )
        path = _text(value, "path", self._number)
        folder = key == "deletedFolder" or (key != "file" and path.endswith("/"))
        path = check_path(path.rstrip("/") if folder else path)
        if path in self._files or path in self._deleted or path in self._folders:
            raise malformed(f"{path} stands twice in one commit", "send one operation a path")
        if key == "file":
            self._files[path] = _content(value, self._number)
        elif folder:
            self._folders.add(path)
        else:
            self._deleted.add(path)


def parse(body: bytes) -> CommitRequest:
    """Read a whole commit body of at most `MAX_BODY` bytes.

    Raises:
        RequestDeniedError: 400 with what is wrong in which line; 413 where it, or a line of it, is too long.
    """
    if len(body) > MAX_BODY:
        raise too_large(MAX_BODY)
    reader = Reader()
    start = 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        if end - start > MAX_LINE:
            raise too_large(MAX_LINE)
        reader.take(body[start:end])
        start = end + 1
    return reader.finish()


def apply(request: CommitRequest, present: Mapping[str, str]) -> tuple[set[str], dict[str, bytes]]:
    """The paths that stay as they are, and the new files, of a tree that held `present` (path -> digest).

    Raises:
        RequestDeniedError: a file or folder to delete is not there.
    """
    kept = set(present)
    for path in request.deleted:
        gone = {path} & set(present) or _inside(path, present)
        if not gone:
            raise _absent("file", path)
        kept -= gone
    for folder in request.deleted_folders:
        gone = _inside(folder, present)
        if not gone:
            raise _absent("folder", folder)
        kept -= gone
    kept -= set(request.files)
    whole = kept | set(request.files)
    clash = {path for path in whole for other in whole if other.startswith(f"{path}/")}
    if clash:
        raise malformed(f"{min(clash)} would be a file and a folder at once")
    return kept, dict(request.files)


def _inside(folder: str, paths: Iterable[str]) -> set[str]:
    return {path for path in paths if path.startswith(f"{folder}/")}


def _absent(kind: str, path: str) -> RequestDeniedError:
    text = f"A {kind} with this name doesn't exist: {path}"  # the words that stock clients look for
    return RequestDeniedError(404, "entry", text, "list the files of the revision", code="EntryNotFound")


def too_many_files(what: str) -> RequestDeniedError:
    """More than any release has: nothing of it is read on."""
    return RequestDeniedError(
        413, "file-count", f"this {what} has more than {MAX_OPERATIONS} files",
        "a repository holds one embedding, its card, its audit report and attestations: send these",
    )  # fmt: skip


def too_large(limit: int) -> RequestDeniedError:
    """A body past its limit: nothing of it was kept."""
    return RequestDeniedError(
        413, "body-size", f"the request is larger than {limit:,} bytes",
        "a repository holds one embedding of at most 1,000,000 bytes, its card, its audit report and attestations",
    )  # fmt: skip


def _operation(line: bytes, number: int) -> tuple[str, Mapping[str, Any]]:
    try:
        item = strict_json.read_object(line, limit=MAX_LINE, nodes=_MAX_PARTS, items=_MAX_PARTS)
    except strict_json.JsonError as error:
        raise malformed(f"line {number}: {error}") from error
    key, value = item.get("key"), item.get("value")
    if not isinstance(key, str) or not isinstance(value, dict):
        raise malformed(f'line {number}: an operation is {{"key": …, "value": {{…}}}}')
    return key, value


def _text(value: Mapping[str, Any], name: str, number: int) -> str:
    found = value.get(name)
    if not isinstance(found, str):
        raise malformed(f"line {number}: {name} must be text")
    return found


def _content(value: Mapping[str, Any], number: int) -> bytes:
    content = _text(value, "content", number)
    encoding = value.get("encoding", "utf-8")
    if encoding == "utf-8":
        return content.encode()
    if encoding != "base64":
        raise malformed(f"line {number}: the encoding must be base64 or utf-8")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(f"line {number}: the content is not base64") from error


def _short(header: Mapping[str, Any], name: str) -> str:
    found = header.get(name) or ""
    if not isinstance(found, str) or len(found) > MAX_MESSAGE:
        raise malformed(f"the header's {name} must be text of at most {MAX_MESSAGE} characters")
    return "".join(c for c in found if c.isprintable() or c == "\n")


def _embargo(header: Mapping[str, Any]) -> str | None:
    found = header.get("embargo")
    return None if found is None else read_embargo(found)


def read_embargo(text: object) -> str:
    """When an embargo ends, as the database writes times: a moment ahead, within two years.

    Raises:
        RequestDeniedError: 400 for anything else.
    """
    try:
        moment = instants.read(text) if isinstance(text, str) else None
    except ValueError:
        moment = None
    if moment is None or not now() < moment < now() + LONGEST_EMBARGO:
        raise malformed(
            "the end of an embargo is a moment ahead, within two years, such as 2027-01-31T08:00:00Z",
            "leave it out to publish at once",
        )
    return stamp(moment)


def _parent(header: Mapping[str, Any]) -> str | None:
    found = header.get("parentCommit")
    if found is None:
        return None
    if not isinstance(found, str) or not is_commit(found):
        raise malformed("parentCommit must be a whole commit id", "leave it out, or send all 40 hex digits")
    return found
