"""Reading: facts of a repository, trees, downloads, caches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

from huggingface_hub import HfApi, HfFileSystem, get_hf_file_metadata, hf_hub_url
from huggingface_hub.hf_api import ExpandModelProperty_T, RepoFile

from .stage import AUDIT_BUNDLE, BUNDLE, EMBEDDING, FILES, MODEL_BUNDLE, RELEASED, Stage, call, digest, present, same


@call(
    "model_info",
    gives={
        "id": RELEASED, "author": "radboud", "sha": "first", "private": False, "gated": False, "disabled": False,
        "pipeline_tag": "text-to-image", "library_name": "diffusers", "licence": "cc-by-4.0", "files": FILES,
        "tags": ["diffusers", "license:cc-by-4.0", "modality:MR", "text-to-image"],
    },
)  # fmt: skip
def _(stage: Stage) -> Any:
    info = stage.api.model_info(RELEASED)
    wanted = {"diffusers", "license:cc-by-4.0", "modality:MR", "text-to-image"}
    return {
        "id": info.id, "author": info.author, "sha": info.sha, "private": info.private, "gated": info.gated,
        "disabled": info.disabled, "pipeline_tag": info.pipeline_tag, "library_name": info.library_name,
        "licence": present(info.card_data).license, "files": [s.rfilename for s in present(info.siblings)],
        "tags": sorted(wanted & set(present(info.tags))),
    }  # fmt: skip


@call("model_info(files_metadata)", gives=[True, True])
def _(stage: Stage) -> Any:
    siblings = present(stage.api.model_info(RELEASED, files_metadata=True).siblings)
    sizes = {s.rfilename: s.size for s in siblings}
    return [sizes == {name: (stage.release / name).stat().st_size for name in FILES},
            all(len(present(s.blob_id)) == 40 for s in siblings)]  # fmt: skip


@call("model_info(revision)", gives=["first", "first"])
def _(stage: Stage) -> Any:
    return [stage.api.model_info(RELEASED, revision=r).sha for r in ("main", stage.commit("first"))]


@call("model_info(expand)", gives={"downloads": True, "created": True, "author": "radboud", "siblings": None})
def _(stage: Stage) -> Any:
    info = stage.api.model_info(RELEASED, expand=["downloads", "createdAt", "author", "gguf"])
    return {"downloads": info.downloads is not None, "created": info.created_at is not None,
            "author": info.author, "siblings": info.siblings}  # fmt: skip


@call("model_info(expand) of all that the Hub knows", gives=[RELEASED, 6])
def _(stage: Stage) -> Any:
    wanted = [name for name in get_args(ExpandModelProperty_T) if name != "inferenceProviderMapping"]
    info = stage.api.model_info(RELEASED, expand=wanted)
    return [info.id, len(present(info.siblings))]


@call("model_info(expand) of what the Hub does not know", raises="BadRequestError", status=400, says="nonsense")
def _(stage: Stage) -> Any:
    stage.api.model_info(RELEASED, expand=["nonsense"])  # type: ignore[list-item]  # refused, which is the call


@call("repo_info", gives=[RELEASED, "first"])
def _(stage: Stage) -> Any:
    info = stage.api.repo_info(RELEASED)
    return [info.id, info.sha]


@call("resolve_revision", gives="first", since=1, why="no such call")
def _(stage: Stage) -> Any:
    return stage.api.resolve_revision(RELEASED, revision="main").resolved


@call("list_repo_files", gives=FILES)
def _(stage: Stage) -> Any:
    return sorted(stage.api.list_repo_files(RELEASED))


@call("list_repo_tree", gives={"README.md": True, "attestations": False, "audit.json": True, EMBEDDING: True})
def _(stage: Stage) -> Any:
    return {item.path: isinstance(item, RepoFile) for item in stage.api.list_repo_tree(RELEASED)}


@call("list_repo_tree(recursive)", gives=sorted([*FILES, "attestations"]))
def _(stage: Stage) -> Any:
    return sorted(item.path for item in stage.api.list_repo_tree(RELEASED, recursive=True))


@call("list_repo_tree of a folder, expanded", gives=dict.fromkeys([AUDIT_BUNDLE, MODEL_BUNDLE, BUNDLE], "first"))
def _(stage: Stage) -> Any:
    found = stage.api.list_repo_tree(RELEASED, "attestations", expand=True)
    return {item.path: present(item.last_commit).oid for item in found}


@call("list_repo_tree of a missing folder", raises="EntryNotFoundError", status=404)
def _(stage: Stage) -> Any:
    return [item.path for item in stage.api.list_repo_tree(RELEASED, "absent")]


@call("get_paths_info", gives=[[EMBEDDING, "attestations"], "first"])
def _(stage: Stage) -> Any:
    found = stage.api.get_paths_info(RELEASED, [EMBEDDING, "attestations", "absent"], expand=True)
    return [[item.path for item in found], present(found[0].last_commit).oid]


@call("file_exists", gives=[True, True, False])
def _(stage: Stage) -> Any:
    return [stage.api.file_exists(RELEASED, name) for name in (EMBEDDING, BUNDLE, "absent.txt")]


@call("revision_exists", gives=[True, True, False, False])
def _(stage: Stage) -> Any:
    asked = ("main", stage.commit("first"), "absent", "0" * 40)
    return [stage.api.revision_exists(RELEASED, revision) for revision in asked]


@call("hf_hub_download", gives=[True, True])
def _(stage: Stage) -> Any:
    got = {name: stage.api.hf_hub_download(RELEASED, name, cache_dir=stage.folder("cache")) for name in FILES}
    return [all(same(stage, path, name) for name, path in got.items()), stage.commit("first") in got[EMBEDDING]]


@call("hf_hub_download(revision)", gives=True)
def _(stage: Stage) -> Any:
    first = stage.commit("first")
    return same(
        stage, stage.api.hf_hub_download(RELEASED, BUNDLE, revision=first, cache_dir=stage.folder("pin")), BUNDLE
    )


@call("hf_hub_download(local_dir), twice", gives=[True, True])
def _(stage: Stage) -> Any:
    folder = stage.folder("local")
    return [same(stage, stage.api.hf_hub_download(RELEASED, BUNDLE, local_dir=folder), BUNDLE) for _ in range(2)]


@call("hf_hub_download(force_download)", gives=True)
def _(stage: Stage) -> Any:
    path = stage.api.hf_hub_download(RELEASED, EMBEDDING, cache_dir=stage.folder("cache"), force_download=True)
    return same(stage, path, EMBEDDING)


@call("hf_hub_download without a token", gives=True)
def _(stage: Stage) -> Any:
    path = stage.speaking(None).hf_hub_download(RELEASED, EMBEDDING, cache_dir=stage.folder("nobody"))
    return same(stage, path, EMBEDDING)


@call("hf_hub_download(local_files_only) of what was read before", gives=True)
def _(stage: Stage) -> Any:
    path = stage.api.hf_hub_download(RELEASED, EMBEDDING, cache_dir=stage.folder("cache"), local_files_only=True)
    return same(stage, path, EMBEDDING)


@call("hf_hub_download(local_files_only) of what was not", raises="LocalEntryNotFoundError")
def _(stage: Stage) -> Any:
    stage.api.hf_hub_download(RELEASED, EMBEDDING, cache_dir=stage.folder("bare"), local_files_only=True)


@call("snapshot_download while no registry answers", raises="LocalEntryNotFoundError")
def _(stage: Stage) -> Any:
    HfApi(endpoint="http://127.0.0.1:9", token=False).snapshot_download(RELEASED, cache_dir=stage.folder("bare"))


@call("snapshot_download", gives=[True, FILES])
def _(stage: Stage) -> Any:
    folder = Path(stage.api.snapshot_download(RELEASED, cache_dir=stage.folder("snapshot")))
    return [all(same(stage, folder / name, name) for name in FILES), _files(folder)]


@call("snapshot_download(revision, allow_patterns, local_dir)", gives=[BUNDLE, MODEL_BUNDLE, AUDIT_BUNDLE])
def _(stage: Stage) -> Any:
    folder = stage.folder("part")
    stage.api.snapshot_download(
        RELEASED, revision=stage.commit("first"), allow_patterns="attestations/*", local_dir=folder
    )
    return sorted((p for p in _files(folder) if not p.startswith(".cache")), reverse=True)


@call("downloads at the same time", gives=[8, True])
def _(stage: Stage) -> Any:
    def get(number: int) -> str:
        cache = stage.folder(f"crowd-{number}")
        return digest(stage.api.hf_hub_download(RELEASED, EMBEDDING, cache_dir=cache))

    with ThreadPoolExecutor(8) as crowd:
        got = list(crowd.map(get, range(8)))
    return [len(got), set(got) == {digest(stage.release / EMBEDDING)}]


@call("get_hf_file_metadata", gives={"commit": "first", "etag": True, "size": True})
def _(stage: Stage) -> Any:
    url = hf_hub_url(RELEASED, EMBEDDING, endpoint=stage.endpoint)
    facts = get_hf_file_metadata(url, token=stage.tokens["alice"])
    file = stage.release / EMBEDDING
    return {"commit": facts.commit_hash, "etag": facts.etag == digest(file), "size": facts.size == file.stat().st_size}


@call("verify_repo_checksums", gives=[6, 0], since=1, why="no such call")
def _(stage: Stage) -> Any:
    folder = stage.folder("checked")
    stage.api.snapshot_download(RELEASED, local_dir=folder)
    found = stage.api.verify_repo_checksums(RELEASED, local_dir=folder, revision=stage.commit("first"))
    return [found.checked_count, len(found.mismatches)]


@call("parse_safetensors_file_metadata", gives={"emb_params": [[8, 32], "F16"]})
def _(stage: Stage) -> Any:
    tensors = stage.api.parse_safetensors_file_metadata(RELEASED, EMBEDDING).tensors
    return {name: [facts.shape, facts.dtype] for name, facts in tensors.items()}


@call("HfFileSystem: ls, cat, a part of a file", gives=[FILES[0], True, True])
def _(stage: Stage) -> Any:
    system = HfFileSystem(endpoint=stage.endpoint, token=stage.tokens["alice"])
    names = sorted(item["name"] for item in system.ls(RELEASED) if isinstance(item, dict))
    data = (stage.release / EMBEDDING).read_bytes()
    with system.open(f"{RELEASED}/{EMBEDDING}", "rb") as file:
        file.seek(100)
        part = file.read(50)
    return [names[0].removeprefix(f"{RELEASED}/"), system.cat(f"{RELEASED}/{EMBEDDING}") == data, part == data[100:150]]


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
