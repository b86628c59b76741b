"""What every call needs, the list of calls with what each must give, and how an outcome is written down.

The modules of this folder run inside a client's own environment: they import huggingface_hub and the standard library.
The tests import them too, in the project's environment, for the list alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import ProxyHandler, Request, build_opener

import huggingface_hub
from huggingface_hub import HfApi

T = TypeVar("T")

RELEASED = "radboud/prostate-cspca"
COUNTERSIGNED = "radboud/countersigned"
EMBEDDING = "learned_embeds.safetensors"
BUNDLE = "attestations/publish.sigstore.json"
AUDIT_BUNDLE, MODEL_BUNDLE = "attestations/audit.sigstore.json", "attestations/model.sigstore.json"
FILES = ["README.md", AUDIT_BUNDLE, MODEL_BUNDLE, BUNDLE, "audit.json", EMBEDDING]


@dataclass(frozen=True)
class Call:
    """One call: its name in the table, what runs, and what it must give: a JSON value, or an exception by its class.

    `since` is the first major version that has the call; `why` says in words what an earlier one lacks.
    """

    name: str
    group: str
    run: Callable[[Stage], Any]
    gives: Any = None
    raises: str | None = None
    status: int | None = None
    says: str = ""
    since: int = 0
    why: str = ""


CALLS: list[Call] = []


def call(name: str, **wanted: Any) -> Callable[[Callable[[Stage], Any]], Callable[[Stage], Any]]:
    """Put a function on the list, in the order of the source; the later ones build on the earlier."""

    def decorate(function: Callable[[Stage], Any]) -> Callable[[Stage], Any]:
        assert all(known.name != name for known in CALLS), name
        CALLS.append(Call(name, function.__module__.rpartition(".")[2], function, **wanted))
        return function

    return decorate


def present(value: T | None) -> T:
    """The value, which a client may leave out and did not."""
    assert value is not None
    return value


@dataclass
class Stage:
    """A registry with its accounts, and where things go. `alice` publishes for radboud, `lea` for lumc, `rob` reads,
    `nora` audits for nki. Beside `release` lie the folder `countersigned`, a release for that name, and
    `countersigned.json`, the bundle by which the auditor countersigns it.
    """

    endpoint: str
    tokens: dict[str, str]
    release: Path
    scratch: Path
    known: dict[str, str] = field(default_factory=dict)

    @property
    def api(self) -> HfApi:
        """As alice."""
        return self.speaking("alice")

    def speaking(self, account: str | None) -> HfApi:
        """As somebody; None is nobody."""
        return HfApi(endpoint=self.endpoint, token=self.tokens[account] if account else False)

    def folder(self, name: str) -> Path:
        """A folder of this name, made where it is not there."""
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def names(self, commit: str, name: str) -> str:
        """From now on this commit is written by its name."""
        self.known[commit] = name
        return commit

    def commit(self, name: str) -> str:
        """The commit of this name."""
        return next(commit for commit, known in self.known.items() if known == name)

    def spelled(self, value: Any) -> Any:
        """A JSON value with the names of commits, and without the registry's address."""
        text = json.dumps(value).replace(self.endpoint, "REGISTRY")
        for commit, name in self.known.items():
            text = text.replace(commit, name)
        return json.loads(text)

    def post(self, method: str, path: str, body: Any, *, account: str) -> Any:
        """What stock clients have no call for: a request as the Hub's pages send it."""
        headers = {"Authorization": f"Bearer {self.tokens[account]}", "Content-Type": "application/json"}
        request = Request(self.endpoint + path, json.dumps(body).encode(), headers, method=method)
        with build_opener(ProxyHandler({})).open(request, timeout=60) as response:
            return json.loads(response.read())


def digest(path: str | Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def same(stage: Stage, path: str | Path, name: str) -> bool:
    """Whether a downloaded file is the release's, byte for byte."""
    return Path(path).read_bytes() == (stage.release / name).read_bytes()


def major() -> int:
    """The major version of this environment's huggingface_hub."""
    return int(huggingface_hub.__version__.split(".")[0])


def perform(stage: Stage, wanted: Call) -> dict[str, Any]:
    """Run one call; what it gave, or which exception with which status and words."""
    if major() < wanted.since:
        return {"absent": wanted.why}
    try:
        return {"value": stage.spelled(wanted.run(stage))}
    except Exception as error:  # noqa: BLE001 - whatever the client raises is the outcome
        return {
            "raised": [kind.__name__ for kind in type(error).__mro__],
            "status": getattr(getattr(error, "response", None), "status_code", None),
            "said": str(error),
        }
