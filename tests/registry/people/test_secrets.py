"""A token that is put where it does not belong is written down nowhere: not in a log, not in the audit log."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.support import pushes
from tests.support.servers import running_registry

STRANGER = "hf_emb_" + "StrangerStrangerStrangerStrangerStranger123"


def test_tokens_planted_everywhere(tmp_path: Path) -> None:
    with running_registry(tmp_path) as served:
        token = served.add_user("alice", namespace="radboud")
        for secret in (token, STRANGER, served.admin):
            basic = base64.b64encode(f"alice:{secret}".encode()).decode()
            for path in (
                f"/api/models?search={secret}",
                f"/api/models/radboud/{secret}",
                f"/{secret}/x/resolve/main/{secret}.json",
                f"/radboud/x/resolve/{secret}/a%2F{secret}",
                f"/?q={secret}&token={secret}",
                f"/{secret[:3]}%5F{secret[4:]}",
            ):
                for headers in (
                    {},
                    {"Authorization": f"Bearer {secret}"},
                    {"Authorization": f"Basic {basic}"},
                    {"Authorization": f"Bearer {secret}x"},
                    {"Authorization": secret},
                    {
                        "X-Token": secret,
                        "User-Agent": secret,
                        "Cookie": f"token={secret}",
                        "Referer": f"http://{secret}",
                    },
                ):
                    served.get(path, headers=headers)
            served.request("POST", "/api/repos/create", token=token, json_body={"name": secret, "type": "model"})
            pushes.create(served, "planted", token=token)
            for path in (f"{secret}.md", f"x/{secret}"):
                pushes.commit(served, "radboud/planted", {path: secret.encode()}, token=token, title=secret)
            served.request("POST", f"/embhub/v1/yank/radboud/{secret}", token=token, json_body={"reason": secret})
            served.run("token", "revoke", "hf_emb_nothing" + secret[14:], check=False)
        served.stop()
        said = [served.log, *served.folder.glob("audit*.jsonl")]
        texts = [path.read_text() for path in said]
        assert all("[redacted]" in text for text in texts), "the plants did arrive there"
        for secret in (token, STRANGER, served.admin):
            for text in texts:
                assert secret not in text and secret[8:] not in text and secret[4:30] not in text
                assert base64.b64encode(f"alice:{secret}".encode()).decode() not in text
        failed = [row for row in map(json.loads, texts[1].splitlines()) if row["event"] == "login-failed"]
        assert failed and sum(row["times"] for row in failed) >= 24 and all(row["client"] for row in failed)
        assert served.ask("audit", "verify")["whole"]
