"""An environment that cannot be made is an error that says why; nothing half-made is taken for ready."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance import environments


@pytest.mark.thorough
def test_what_cannot_be_installed_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_CLIENTS", str(tmp_path))
    monkeypatch.setattr(environments, "CLIENTS", {"none": f"embhub-no-such-client @ file://{tmp_path}/absent.whl"})
    for _ in range(2):
        with pytest.raises(environments.CannotBuild, match="embhub-no-such-client"):
            environments.open_client("none")
    assert not list(tmp_path.rglob("ready"))


@pytest.mark.thorough
def test_workers_that_ask_at_once_share_one_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_CLIENTS", str(tmp_path))
    monkeypatch.setattr(environments, "CLIENTS", {"tiny": "idna"})
    built, build = [], environments._build

    def counted(folder: Path, client: environments.Client) -> None:
        built.append(folder)
        build(folder, client)

    monkeypatch.setattr(environments, "_build", counted)
    with ThreadPoolExecutor(3) as workers:
        clients = list(workers.map(environments.open_client, ["tiny"] * 3))
    assert len(built) == 1 and len(set(clients)) == 1
    command = [str(clients[0].python), "-c", "import idna, sys; print(sys.prefix)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == str(built[0])


def test_a_client_sees_no_token_and_no_setting_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HUGGINGFACE_HUB_CACHE", "PYTHONPATH"):
        monkeypatch.setenv(name, "ours")
    seen = environments.surroundings("http://127.0.0.1:1", tmp_path)
    assert "ours" not in seen.values()
    assert seen["HF_ENDPOINT"] == "http://127.0.0.1:1"
