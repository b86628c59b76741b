"""Calls of `@huggingface/hub`, the Hub's JavaScript client, as `javascript.mjs` makes them, and what each must give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embhub.release.files import EMBEDDING
from tests.conformance.driver.stage import AUDIT_BUNDLE, BUNDLE, FILES, MODEL_BUNDLE, RELEASED

VERSION = "2.17.5"
SMALL = "radboud/small"


@dataclass(frozen=True)
class Refused:
    """The client's `HubApiError` with this status, whose message has these words."""

    status: int
    says: str


CALLS: Mapping[str, Any] = {
    "whoAmI": ["alice", "user", ["radboud"], "write"],
    "whoAmI with a token that is no good": Refused(401, "does not know the token"),
    "createRepo": [f"REGISTRY/{RELEASED}", f"REGISTRY/{SMALL}"],
    "createRepo, twice": Refused(409, "exists already"),
    "createRepo(private)": [True, False],
    "createRepo(files)": Refused(400, "created empty"),
    "createRepo(license)": Refused(400, "created empty"),
    "createRepo of a dataset": Refused(400, "models only"),
    "repoExists": [True, False],
    "checkRepoAccess": None,
    "checkRepoAccess to another's private repository": Refused(404, "not found"),
    "uploadFiles": True,
    "uploadFile": "# Soon\n",
    "uploadFilesWithProgress": [["preuploading", "uploadingLargeFiles", "committing"], "# Sooner\n"],
    "commit(parentCommit) that edits and adds": ["# Later\n", [".gitattributes", "README.md"]],
    "commit on a stale parent": Refused(412, "moved on"),
    "commit(isPullRequest)": Refused(400, "no pull requests"),
    "uploadFile of a pickle": Refused(422, "weights-format"),
    "uploadFile by another namespace": Refused(403, "lumc"),
    "deleteFile": ["README.md"],
    "deleteFiles": [],
    "modelInfo": {"name": RELEASED, "task": "text-to-image", "hidden": False, "gated": False, "dated": True},
    "modelInfo(revision, additionalFields)": [True, FILES, "radboud", "diffusers"],
    "modelInfo of a missing repository": Refused(404, "not found"),
    "listFiles": ["README.md", "attestations", "audit.json", EMBEDDING],
    "listFiles(path, recursive, expand)": [[path, "First release"] for path in (AUDIT_BUNDLE, MODEL_BUNDLE, BUNDLE)],
    "pathsInfo": [[EMBEDDING, "file", True], ["attestations", "directory", True]],
    "pathsInfo(expand)": "First release",
    "fileExists": [True, True, False, False],
    "fileDownloadInfo": [True, True, None],
    "downloadFile": True,
    "downloadFile(raw)": True,
    "downloadFile, a part": True,
    "downloadFile of a missing one": None,
    "downloadFileToCacheDir": True,
    "snapshotDownload": FILES,
    "parseSafetensorsMetadata": ["emb_params"],
    "listCommits": [
        ["Deletes 1 files", "Delete .gitattributes", "Later", "Add 1 files", "Add README.md", "Create the repository"],
        "More words", ["alice"],
    ],
    "countCommits": [6, 2],
    "createBranch": True,
    "createBranch, twice": Refused(409, "already"),
    "createBranch(empty)": Refused(400, "no empty ones"),
    "deleteBranch": False,
    "listModels": [[RELEASED], [], [RELEASED], [RELEASED, SMALL]],
    "listModels(sort, limit, additionalFields)": [[SMALL, "radboud"]],
    "listModels(apps)": Refused(400, "cannot be filtered by 'apps'"),
    "listModels(sort=num_parameters)": Refused(400, "cannot sort by"),
    "datasetInfo": Refused(404, "models only"),
    "listDatasets": Refused(404, "models only"),
    "spaceInfo": Refused(404, "models only"),
    "createCollection": Refused(400, "no collections"),
    "copyFile": Refused(400, "no buckets"),
    "deleteRepo of published releases": Refused(403, "published releases"),
    "deleteRepo": False,
}  # fmt: skip
"""In the order in which they are made: later ones build on earlier ones. Values are JSON."""


def fault(wanted: Any, outcome: Mapping[str, Any]) -> str | None:
    """What is wrong with an outcome; None where it is what it must be."""
    if not isinstance(wanted, Refused):
        return None if outcome.get("value", ...) == wanted else f"{outcome}, not {wanted}"
    told = (outcome.get("raised"), outcome.get("status"))
    if told != ("HubApiError", wanted.status) or wanted.says not in outcome["said"]:
        return f"{outcome}, not {wanted}"
    return None


def table() -> str:
    """The calls as a table of docs/reference/hub-conformance.md."""
    found: dict[str, list[str]] = {}
    for name, wanted in CALLS.items():
        gives = f"`HubApiError`, {wanted.status}" if isinstance(wanted, Refused) else "as asked"
        found.setdefault(gives, []).append(name)
    rows = [f"| {'; '.join(names)} | {gives} |" for gives, names in found.items()]
    return "\n".join([f"## `@huggingface/hub` {VERSION}", "", "| calls | give |", "|---|---|", *rows])
