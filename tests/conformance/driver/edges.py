"""Names, filters, folders and cards at their edges; who last changed a file; ids and bodies of plain answers."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from huggingface_hub import CommitOperationAdd, ModelCard

from .stage import COUNTERSIGNED, EMBEDDING, FILES, Stage, call, present

AUDIT_BUNDLE = "attestations/audit.nki.sigstore.json"
DRAFT = "radboud/draft"
CASED, OTHER_CASE, ALIKE = "radboud/Cased-v1_x", "RADBOUD/cased-V1_X", "radboud/Cased.v1-x"
LONELY = "gpt2"
CARDS = {
    "---\nlicense: mit\ndate: 2026-11-20\n---\n": True,
    "---\nmodel-index:\n- name: n\n  results: []\n---\n": True,
    "# No front matter\n": True,
    "---\ndate: 2026-13-45\n---\n": False,
    "---\n1: x\n---\n": False,
    "---\nyes: x\n---\n": False,
    "---\ntags: false\n---\n": False,
    "---\nmodel-index: x\n---\n": False,
    "---\nself: x\n---\n": False,
    "---\n- a\n---\n": False,
}
LAST = dict.fromkeys(FILES, "published") | {AUDIT_BUNDLE: "countersigned"}


@call("list_repo_tree(expand) after an auditor's commit", gives=LAST | {"attestations": "countersigned"})
def _(stage: Stage) -> Any:
    folder = stage.release.parent / "countersigned"
    stage.api.create_repo(COUNTERSIGNED)
    stage.names(stage.api.upload_folder(repo_id=COUNTERSIGNED, folder_path=folder).oid, "published")
    bundle = CommitOperationAdd(AUDIT_BUNDLE, str(folder.with_name("countersigned.json")))
    made = stage.speaking("nora").create_commit(COUNTERSIGNED, [bundle], commit_message="Countersign")
    stage.names(made.oid, "countersigned")
    found = stage.api.list_repo_tree(COUNTERSIGNED, recursive=True, expand=True)
    return {item.path: present(item.last_commit).oid for item in found}


@call("get_paths_info(expand) after an auditor's commit", gives={EMBEDDING: "published", AUDIT_BUNDLE: "countersigned"})
def _(stage: Stage) -> Any:
    found = stage.api.get_paths_info(COUNTERSIGNED, [EMBEDDING, AUDIT_BUNDLE], expand=True)
    return {item.path: present(item.last_commit).oid for item in found}


@call("delete_folder without a slash: admission refuses", raises="HfHubHTTPError", status=422, says="unsigned")
def _(stage: Stage) -> Any:
    stage.api.delete_folder("attestations", repo_id=COUNTERSIGNED)


@call("delete_folder with a slash: admission refuses", raises="HfHubHTTPError", status=422, says="unsigned")
def _(stage: Stage) -> Any:
    stage.api.delete_folder("attestations/", repo_id=COUNTERSIGNED)


@call("create_commit of 101 files", raises="HfHubHTTPError", status=413, says="more than 100 files")
def _(stage: Stage) -> Any:
    many = [CommitOperationAdd(f"attestations/{number}.json", b"{}") for number in range(101)]
    stage.api.create_commit(COUNTERSIGNED, many, commit_message="too many")


@call("model_info of an id without namespace", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.model_info(LONELY)


@call("hf_hub_download of an id without namespace", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    stage.api.hf_hub_download(LONELY, "config.json", cache_dir=stage.folder("lonely"))


@call("list_repo_tree of an id without namespace", raises="RepositoryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    return [item.path for item in stage.api.list_repo_tree(LONELY)]


@call("repo_exists and file_exists of an id without namespace", gives=[False, False])
def _(stage: Stage) -> Any:
    return [stage.api.repo_exists(LONELY), stage.api.file_exists(LONELY, "config.json")]


@call("create_repo(exist_ok), upload_file and model_info in another case", gives=[CASED, "cased", ["README.md"]])
def _(stage: Stage) -> Any:
    stage.api.create_repo(CASED)
    stage.api.create_repo(OTHER_CASE, exist_ok=True)
    made = stage.api.upload_file(repo_id=OTHER_CASE, path_in_repo="README.md", path_or_fileobj=b"# Cased\n")
    stage.names(made.oid, "cased")
    info = stage.api.model_info(OTHER_CASE)
    return [info.id, info.sha, stage.api.list_repo_files(CASED)]


@call("hf_hub_download in another case", gives="# Cased\n")
def _(stage: Stage) -> Any:
    path = stage.api.hf_hub_download(OTHER_CASE, "README.md", cache_dir=stage.folder("cased"))
    with open(path) as file:  # noqa: PTH123  # a client may give a text
        return file.read()


@call("create_repo with '.', '_' and '-' exchanged", raises="HfHubHTTPError", status=409, says=CASED)
def _(stage: Stage) -> Any:
    stage.api.create_repo(ALIKE)


@call("list_models(apps)", raises="BadRequestError", status=400, says="apps")
def _(stage: Stage) -> Any:
    return list(stage.api.list_models(apps="llama.cpp"))


@call("list_models(inference_provider)", raises="BadRequestError", status=400, says="inference_provider")
def _(stage: Stage) -> Any:
    return list(stage.api.list_models(inference_provider="all"))


@call(
    "list_models(num_parameters)", raises="BadRequestError", status=400, says="num_parameters", since=1,
    why="no such argument",
)  # fmt: skip
def _(stage: Stage) -> Any:
    return list(stage.api.list_models(num_parameters="min:6B"))


@call("validate-yaml: what it accepts loads as ModelCard", gives=[[accepted, accepted] for accepted in CARDS.values()])
def _(stage: Stage) -> Any:
    return [[plainly(stage, "POST", "/api/validate-yaml", {"content": text})[0] == 200, loads(text)] for text in CARDS]


@call("an error has the id of its request", gives=True)
def _(stage: Stage) -> Any:
    try:
        stage.api.model_info("radboud/absent")
    except Exception as error:  # noqa: BLE001 - whatever the client raises
        sent = getattr(error, "response").headers["x-request-id"]  # noqa: B009 - each version has a class of its own
        return bool(sent) and sent in str(error)


@call("delete_branch, delete_tag and delete_repo in plain HTTP", gives=[[200, "OK"]] * 3)
def _(stage: Stage) -> Any:
    stage.api.create_branch(CASED, branch="b")
    stage.api.create_tag(CASED, tag="t")
    return [
        plainly(stage, "DELETE", f"/api/models/{CASED}/branch/b"),
        plainly(stage, "DELETE", f"/api/models/{CASED}/tag/t"),
        plainly(stage, "DELETE", "/api/repos/delete", {"name": CASED.partition("/")[2], "organization": "radboud"}),
    ]


@call("update_repo_settings in plain HTTP", gives=[[200, '{"gated":"auto"}'], [200, '{"gated":false}']])
def _(stage: Stage) -> Any:
    stage.api.create_repo(DRAFT)  # what was released, an admin alone may gate
    path = f"/api/models/{DRAFT}/settings"
    answers = [plainly(stage, "PUT", path, {"gated": gate}) for gate in ("auto", False)]
    stage.api.delete_repo(DRAFT)
    return answers


def plainly(stage: Stage, method: str, path: str, body: Any = None) -> list[Any]:
    """Status and text of an answer that no client reads."""
    headers = {"Authorization": f"Bearer {stage.tokens['alice']}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = Request(stage.endpoint + path, data, headers, method=method)
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=60) as response:
            return [response.status, response.read().decode()]
    except HTTPError as error:
        with error:
            return [error.code, error.read().decode()]


def loads(text: str) -> bool:
    """Whether this client reads the card."""
    try:
        ModelCard(text)
    except Exception:  # noqa: BLE001 - YAML's, the client's own, Python's
        return False
    return True
