"""The Hub's unmodified JavaScript client against the real server: one process of node makes every call."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from embhub.release.files import EMBEDDING
from tests.conformance import javascript
from tests.conformance.driver.stage import RELEASED
from tests.conformance.environments import surroundings
from tests.support import releases, tools
from tests.support.servers import running_registry

NODE_FOLDER = Path(os.environ.get("EMBHUB_NODE_FOLDER", "/nonexistent"))
SCRIPT = Path(__file__).with_name("javascript.mjs")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    installed = (NODE_FOLDER / "node_modules/@huggingface/hub").is_dir()
    tools.require("@huggingface/hub", found=installed and shutil.which("node") is not None)
    scratch = tmp_path_factory.mktemp("javascript")
    release = releases.make_release(repository=RELEASED)
    release.to_folder(scratch / "release")
    with running_registry(scratch) as registry:
        registry.add_key(releases.SITE, namespace="radboud")
        tokens = {name: registry.add_user(name, namespace=of) for name, of in (("alice", "radboud"), ("lea", "lumc"))}
        stage = {
            "endpoint": registry.url, "tokens": tokens, "released": RELEASED, "release": str(scratch / "release"),
            "embedding": EMBEDDING, "digest": hashlib.sha256(release.files[EMBEDDING]).hexdigest(),
            "scratch": str(scratch / "downloads"),
        }  # fmt: skip
        (scratch / "stage.json").write_text(json.dumps(stage))
        done = subprocess.run(
            ["node", SCRIPT, scratch / "stage.json"], cwd=NODE_FOLDER, env=surroundings(registry.url, scratch),
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["version"] == javascript.VERSION, "`.ci/tools` installs it"
    return dict(found["outcomes"])


def test_every_call_gives_what_it_must(outcomes: Mapping[str, Any]) -> None:
    assert list(outcomes) == list(javascript.CALLS)
    wrong = {name: javascript.fault(wanted, outcomes[name]) for name, wanted in javascript.CALLS.items()}
    assert not {name: said for name, said in wrong.items() if said}


def test_the_client_that_is_installed_is_the_one_that_is_named() -> None:
    assert f"@huggingface/hub@{javascript.VERSION}" in (SCRIPT.parents[2] / ".ci/tools").read_text()
