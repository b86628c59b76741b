"""huggingface_hub, unmodified, and an export: what a plain web server answers of its calls, and what nginx does."""

from __future__ import annotations

import hashlib
import json
from itertools import product
from pathlib import Path

import httpx
import huggingface_hub
import pytest

from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.release.files import EMBEDDING
from tests.support import releases
from tests.support.nginx import needs_nginx
from tests.support.servers import RunningRegistry
from tests.support.statics import YANKED, nginx_over, plain_server


def test_a_plain_server_answers_questions_and_gives_no_file_to_hf_hub_download(export: Path, tmp_path: Path) -> None:
    with plain_server(export) as url:
        api = huggingface_hub.HfApi(endpoint=url, token=False)
        info = api.model_info(releases.REPOSITORY)
        assert info.sha and EMBEDDING in {row.rfilename for row in info.siblings or []}
        assert api.model_info(releases.REPOSITORY, revision="1.0.0").sha != info.sha
        assert EMBEDDING in api.list_repo_files(releases.REPOSITORY)
        assert [row.id for row in api.list_models()] == [releases.REPOSITORY]
        with pytest.raises(Exception, match=r"(?i)commit|metadata|locate|hugging"):
            huggingface_hub.hf_hub_download(
                releases.REPOSITORY, EMBEDDING, endpoint=url, token=False, cache_dir=tmp_path
            )


@needs_nginx
def test_with_nginx_stock_clients_download_and_ours_pull(
    hub: RunningRegistry, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    sha = json.loads((export / f"api/models/{releases.REPOSITORY}/index.html").read_text())["sha"]
    with nginx_over(export, tmp_path / "nginx") as url:
        for revision in (None, "1.1.0", sha):
            got = huggingface_hub.hf_hub_download(
                releases.REPOSITORY, EMBEDDING, revision=revision, endpoint=url, token=False, cache_dir=tmp_path / "c"
            )
            assert sha in got
        digest = hashlib.sha256(Path(got).read_bytes()).hexdigest()
        assert (
            digest
            == hashlib.sha256((export / releases.REPOSITORY / "resolve" / sha / EMBEDDING).read_bytes()).hexdigest()
        )
        whole = huggingface_hub.snapshot_download(
            YANKED, endpoint=url, token=False, cache_dir=tmp_path / "c", local_dir=tmp_path / "whole"
        )
        assert (Path(whole) / EMBEDDING).is_file()
        api = huggingface_hub.HfApi(endpoint=url, token=False)
        for revision in (None, "HEAD"):
            assert api.model_info(releases.REPOSITORY, revision=revision).sha == sha
        assert api.list_repo_files(releases.REPOSITORY, revision="HEAD") == api.list_repo_files(releases.REPOSITORY)
        for way, revision in product(("resolve", "raw", "blob"), ("HEAD", "main", "1.1.0", sha)):
            found = httpx.get(f"{url}/{releases.REPOSITORY}/{way}/{revision}/{EMBEDDING}", follow_redirects=True)
            assert (found.status_code, found.headers["x-repo-commit"]) == (200, sha), (way, revision)
            assert hashlib.sha256(found.content).hexdigest() == digest
        roots.add_root(str(export), fingerprint=hub.root_fingerprint)
        assert pulling.pull(releases.REPOSITORY, registry=url, require="logged").log_index is not None
        assert [row.repository for row in pulling.search("prostate", registry=url)] == [releases.REPOSITORY]
