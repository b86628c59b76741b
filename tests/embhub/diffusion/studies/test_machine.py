"""What a FLARE server, which may lie, gets a site's client to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

pytest.importorskip("nvflare")

from nvflare.apis.fl_context import FLContext
from nvflare.fuel.sec.audit import AuditService
from nvflare.fuel.sec.authz import AuthorizationService
from nvflare.private.admin_defs import Message
from nvflare.private.defs import SysCommandTopic, TrainingTopic
from nvflare.private.fed.client import admin
from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors
from nvflare.security.security import FLAuthorizer

from embhub.diffusion.studies.flare import machine, network


class _Engine:
    @contextmanager
    def new_context(self) -> Iterator[FLContext]:
        yield FLContext()


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """FLARE's client as a site runs it, under the site's policy, without a network."""
    monkeypatch.setattr(ClientRequestProcessors, "request_processors", [*ClientRequestProcessors.request_processors])
    AuditService.initialize(str(tmp_path / "audit.log"))
    AuthorizationService.initialize(FLAuthorizer("site", network.RIGHTS))
    machine.narrow()
    agent = admin.FedAdminAgent("north", MagicMock(), _Engine())
    for one in ClientRequestProcessors.request_processors:
        agent.register_processor(one)
    return agent


def test_a_server_that_does_not_ask_for_rights_reads_no_file(client: Any, tmp_path: Path) -> None:
    """The message has no word that the site's policy is to be asked, as a liar would send it."""
    (tmp_path / "manifest.csv").write_text("patient 7")
    message = Message(topic=SysCommandTopic.SHELL, body=f"cat {tmp_path / 'manifest.csv'}")
    assert "patient 7" not in str(client._dispatch_request(admin.CellMessage({}, message)).payload.body)


def test_a_server_gets_a_site_to_run_a_job_and_nothing_else(client: Any) -> None:
    assert set(client.processors) == machine.TOPICS
    for topic in (
        TrainingTopic.SHUTDOWN, TrainingTopic.RESTART, TrainingTopic.CONFIGURE_JOB_LOG, TrainingTopic.DELETE_RUN,
        SysCommandTopic.CONFIGURE_SITE_LOG, SysCommandTopic.REPORT_ENV, SysCommandTopic.SHELL,
    ):  # fmt: skip
        assert topic not in client.processors
