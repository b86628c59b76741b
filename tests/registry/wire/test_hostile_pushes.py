"""Every malformed or hostile file, pushed to a running registry: refused by its rule, nothing stored, little spent."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from embhub.release.files import Release
from embhub.site.signing.keys import SigningKey
from embhub.trust.keyring import Role
from tests.support import databases, hostile_files, releases
from tests.support.hostile_files import CASES, Case
from tests.support.servers import RunningRegistry, start_registry

CPU_SECONDS = 1.0
MEMORY = 96_000_000  # above what the process held before: a body, its files, and what reading them takes
DOCUMENT = Path(__file__).parents[3] / "docs/reference/hostile-input.md"


@dataclass(frozen=True)
class Hub:
    registry: RunningRegistry
    token: str
    release: Release

    def commit(self, body: bytes) -> tuple[int, dict[str, str]]:
        """Push a raw body; the answer's status and content."""
        answer = self.registry.request(
            "POST", f"/api/models/{releases.REPOSITORY}/commit/main", token=self.token,
            headers={"Content-Type": "application/x-ndjson"}, body=body,
        )  # fmt: skip
        found = answer.json()
        assert isinstance(found, dict)
        return answer.status, found

    def stored(self) -> tuple[dict[str, int], int]:
        """Rows by table, and files among the blobs."""
        rows = databases.count_rows(self.registry.folder)
        with self.registry.opened() as opened:
            return rows, sum(1 for _ in opened.blobs.stored()) + sum(1 for _ in opened.blobs.strays())

    def spent(self) -> float:
        """Seconds of CPU that the server has used."""
        assert self.registry.process is not None
        fields = Path(f"/proc/{self.registry.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, name: str) -> int:
        """Bytes: VmRSS, what is held now, or VmHWM, the most since `forget_peak`."""
        assert self.registry.process is not None
        for line in Path(f"/proc/{self.registry.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(name)

    def forget_peak(self) -> None:
        assert self.registry.process is not None
        Path(f"/proc/{self.registry.process.pid}/clear_refs").write_text("5")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    registry = start_registry(tmp_path_factory.mktemp("hostile"))
    signers: list[tuple[SigningKey, str, Role]] = [
        (releases.SITE, "radboud", "publish"), (releases.WITHDRAWER, "radboud", "withdraw"),
        (releases.OTHER_SITE, "lumc", "publish"), (releases.AUDITOR, "nki", "audit"),
    ]  # fmt: skip
    try:
        for key, namespace, role in signers:
            registry.add_key(key, namespace=namespace, role=role)
        token = registry.add_user("alice", namespace="radboud")
        registry.request("POST", "/api/repos/create", token=token, json_body={"name": "prostate-cspca"})
        found = Hub(registry, token, releases.make_release())
        assert (
            found.commit(body({".gitattributes": b"# none\n"}))[0] == 200
        )  # what a first commit loads is not measured
        yield found
        log = registry.log.read_text()
        assert "Traceback" not in log and '"fault"' not in log
    finally:
        registry.stop()


def body(files: dict[str, bytes]) -> bytes:
    lines: list[object] = [{"key": "header", "value": {"summary": "a"}}]
    for path, data in files.items():
        value = {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}
        lines.append({"key": "file", "value": value})
    return b"\n".join(json.dumps(line).encode() for line in lines)


def refuse(hub: Hub, data: bytes) -> tuple[int, dict[str, str]]:
    """Push, and see that it is refused cheaply and leaves nothing behind."""
    before = hub.stored()
    hub.forget_peak()
    held, started = hub.memory("VmRSS"), hub.spent()
    status, answer = hub.commit(data)
    assert hub.spent() - started <= CPU_SECONDS
    assert hub.memory("VmHWM") - held < MEMORY
    assert hub.stored() == before
    assert answer["remedy"]
    return status, answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.what}")
def test_hostile_files(hub: Hub, case: Case) -> None:
    status, answer = refuse(hub, body(hostile_files.pushed(hub.release, case)))
    assert (status, answer["rule"]) == (422, case.rule), answer["error"]
    assert not Path("/tmp/embhub-was-run").exists()


PATHS = [
    *("../README.md", "a/../../README.md", "/etc/passwd", "..", ".", "", "a//b", "a\\..\\b", "C:\\x", "~/x"),
    *("%2e%2e/README.md", "..%2fREADME.md", "%252e%252e%252fREADME.md", "README.md\0.safetensors", "README.md\n"),
    *("README.md ", " README.md", "README\u202e.md", "ＲEADME.md", "audıt.json", "．．/x", "..\u2215x", ".git/config"),
    *("a/.git/hooks/x", "con\x1b[2J", "x" * 5000, "/".join("a" * 200), "file:///etc/passwd", "README.md/"),
]


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_paths(hub: Hub, path: str) -> None:
    status, answer = refuse(hub, body({path: b"x"}))
    assert (status, answer["rule"]) in {(400, "request"), (422, "known-files")}, answer["error"]


HEAD = b'{"key":"header","value":{"summary":"a"}}\n'
FILE = b'{"key":"file","value":{"path":"README.md","encoding":"base64","content":'


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (HEAD + b" " * 6_000_000, 413),
        (HEAD + FILE + b'"' + b"A" * 5_900_000 + b'"}}', 413),
        (HEAD + FILE + b'"' + b"A" * 50_000_000 + b'"}}', 413),
        (HEAD + FILE + b'{"":0},' * 390_000, 400),
        (HEAD + FILE + b"[" * 2_700_000, 400),
        (HEAD + FILE + b"9" * 2_700_000 + b"}}", 400),
        (HEAD + b'{"' * 1_300_000, 400),
        (b"\n" * 5_900_000, 413),
        (HEAD + b" \n" * 2_900_000, 413),
        (b"x\n" * 2_900_000, 400),
        (HEAD + b"{}\n" * 1_900_000, 400),
        (HEAD + (FILE + b'"eA=="}}\n') * 60_000, 400),
    ],
    ids=[
        *("spaces", "a long line", "fifty megabytes", "objects", "brackets", "digits", "quotes", "newlines"),
        *("blank lines", "lines", "empty operations", "the same file"),
    ],
)
def test_bodies(hub: Hub, data: bytes, status: int) -> None:
    assert refuse(hub, data)[0] == status


def test_the_release_itself_is_taken_and_costs_no_more(hub: Hub) -> None:
    """Last, since nothing may come after it: every refusal above was for its one change."""
    started = hub.spent()
    assert hub.commit(body(dict(hub.release.files)))[0] == 200
    assert hub.spent() - started <= CPU_SECONDS


def test_the_table_of_hostile_files_is_the_documented_one() -> None:
    page = DOCUMENT.read_text()
    rows = re.findall(r"^\| (\w+) \| (.+) \| `([\w-]+)` \|$", page.split("\n## Registries")[0], re.M)
    documented = [(group, what, rule) for group, several, rule in rows for what in several.split("; ")]
    assert sorted(documented) == sorted(hostile_files.rows())
    assert f"{CPU_SECONDS:.0f} s of CPU" in page and f"{MEMORY // 1_000_000} MB" in page
