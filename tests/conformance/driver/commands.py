"""The `hf` command of the same environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .stage import EMBEDDING, FILES, RELEASED, Stage, call, major, same

COMMANDED = "radboud/commanded"
NO_COMMAND = "no such command"


def hf(stage: Stage, *words: str, account: str = "alice") -> str:
    """What `hf WORDS` prints; an exception with what it says where it fails."""
    environment = {
        **os.environ, "HF_TOKEN": stage.tokens[account], "HF_ENDPOINT": stage.endpoint, "NO_COLOR": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HOME": str(stage.folder("hf-home")),
    }  # fmt: skip
    command = [str(Path(sys.executable).parent / "hf"), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise CommandFailed(done.stdout + done.stderr)
    return done.stdout + done.stderr


class CommandFailed(Exception):
    """`hf` ended with another code than 0."""


@call("hf auth whoami", gives=True)
def _(stage: Stage) -> Any:
    return "alice" in hf(stage, "auth", "whoami")


@call("hf repos create", gives=[True, True])
def _(stage: Stage) -> Any:
    hf(stage, repos(), "create", COMMANDED, "--private")
    info = stage.api.model_info(COMMANDED)
    return [info.id == COMMANDED, info.private]


@call("hf repos settings --gated", gives=["manual", False], since=1, why=NO_COMMAND)
def _(stage: Stage) -> Any:
    seen = []
    for gate in ("manual", "false"):
        hf(stage, repos(), "settings", COMMANDED, "--gated", gate)
        seen.append(stage.api.model_info(COMMANDED).gated)
    return seen


@call("hf upload", gives=["# By hand\n", True])
def _(stage: Stage) -> Any:
    card = stage.folder("by-hand") / "README.md"
    card.write_text("# By hand\n")
    said = hf(stage, "upload", COMMANDED, str(card), "README.md", "--commit-message", "By hand")
    path = stage.api.hf_hub_download(COMMANDED, "README.md", cache_dir=stage.folder("by-hand-cache"))
    return [Path(path).read_text(), stage.endpoint in said]


@call("hf download", gives=True)
def _(stage: Stage) -> Any:
    folder = stage.folder("hf-download")
    hf(stage, "download", RELEASED, "--local-dir", str(folder))
    return all(same(stage, folder / name, name) for name in FILES)


@call("hf download of a file, by commit", gives=True)
def _(stage: Stage) -> Any:
    folder = stage.folder("hf-file")
    hf(stage, "download", RELEASED, EMBEDDING, "--revision", stage.commit("first"), "--local-dir", str(folder))
    return same(stage, folder / EMBEDDING, EMBEDDING)


@call("hf download of a missing repository", raises="CommandFailed", says="not found")
def _(stage: Stage) -> Any:
    hf(stage, "download", "radboud/absent")


@call("hf repos tag create, list", gives=["v2", True])
def _(stage: Stage) -> Any:
    hf(stage, repos(), "tag", "create", RELEASED, "v2")
    listed = hf(stage, repos(), "tag", "list", RELEASED)
    return [stage.api.list_repo_refs(RELEASED).tags[0].name, "v2" in listed]


@call("hf models ls", gives=True, since=1, why=NO_COMMAND)
def _(stage: Stage) -> Any:
    return RELEASED in hf(stage, "models", "ls", "--search", "cspca cancer", "--quiet")


@call("hf models info", gives=True, since=1, why=NO_COMMAND)
def _(stage: Stage) -> Any:
    return '"first"' in stage.spelled(hf(stage, "models", "info", RELEASED, "--json"))


@call("hf repos ls", gives=[True, False], since=1, why=NO_COMMAND)
def _(stage: Stage) -> Any:
    return [COMMANDED in hf(stage, "repos", "ls", account=account) for account in ("alice", "lea")]


@call("hf repos ls --namespace", gives=True, since=1, why=NO_COMMAND)
def _(stage: Stage) -> Any:
    return COMMANDED in hf(stage, "repos", "ls", "--namespace", "radboud")


@call("hf repos ls --namespace, of another one", raises="CommandFailed", says="belongs to", since=1, why=NO_COMMAND)
def _(stage: Stage) -> Any:
    hf(stage, "repos", "ls", "--namespace", "lumc")


@call("hf repos delete", gives=False, since=1, why=NO_COMMAND)
def _(stage: Stage) -> Any:
    hf(stage, repos(), "delete", COMMANDED, "--yes")
    return stage.api.repo_exists(COMMANDED)


def repos() -> str:
    """The command's name for what it does with repositories."""
    return "repos" if major() else "repo"
