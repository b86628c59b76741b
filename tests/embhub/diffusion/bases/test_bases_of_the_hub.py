"""A base from the Hub, over the wire that huggingface_hub speaks: what is fetched, and the marks with it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from embhub.diffusion.bases.adapted import MARK
from tests.support import pipelines
from tests.support.quick import quick

COMMIT = "a" * 40
ASK = """
from embhub.diffusion.bases.adapted import refuse_claim
from embhub.diffusion.bases.pipelines import find_base
refuse_claim(find_base("hospital/base"))
"""


class Hub(BaseHTTPRequestHandler):
    """The addresses of one repository."""

    folder: Path

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        names = sorted(part.relative_to(self.folder).as_posix() for part in self.folder.rglob("*") if part.is_file())
        if path.startswith("/api/models/hospital/base/tree/"):
            self.answer(json.dumps([self.told(name) for name in names]).encode())
        elif path.startswith("/api/models/hospital/base"):
            files = [{"rfilename": name} for name in names]
            self.answer(json.dumps({"id": "hospital/base", "sha": COMMIT, "siblings": files}).encode())
        elif (name := path.rpartition("/resolve/")[2].partition("/")[2]) in names:
            self.answer((self.folder / name).read_bytes())
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def told(self, name: str) -> dict[str, str | int]:
        data = (self.folder / name).read_bytes()
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("place", quick([], thorough=["unet"], exhaustive=["", "."]))
def test_the_mark_of_a_fine_tuned_base_comes_along(tmp_path: Path, place: str) -> None:
    base = pipelines.write(tmp_path / "base")
    if place:
        (base / place / MARK).write_text("{}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Hub,), {"folder": base}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    told = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hf")}
    try:
        ended = subprocess.run(
            [sys.executable, "-c", ASK], env={**os.environ, **told, "EMBHUB_HOME": str(tmp_path / "home")},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (ended.returncode == 0) == (not place), ended.stderr[-2000:]
    assert ("fine-tuned without privacy" in ended.stderr) == bool(place), ended.stderr[-2000:]
