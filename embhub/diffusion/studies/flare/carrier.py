"""What FLARE loads: at the coordinator a controller that brings tasks, at a site an executor that answers them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller, Task
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal

from embhub.diffusion.studies import seats
from embhub.errors import EmbhubError
from embhub.study.answering import StudySite
from embhub.study.tasks import MAX_BYTES

TASK, DATA, NAME = "study", "data", "task"
_LOOK = 0.02


class Coordinating(Controller):  # type: ignore[misc]  # FLARE has no types
    """Runs the coordinator's part of the study with this digest, once."""

    def __init__(self, study: str) -> None:
        super().__init__(task_check_period=0.05)
        self._digest = study

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Nothing is to be done before."""

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing is to be done after."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """The whole study; what ended it, or that it ended well, is in the log and in the coordinator's folder."""

        def ask(task: str, data: Mapping[str, bytes], seconds: float) -> dict[str, bytes]:
            return self._ask(task, data, seconds, abort_signal, fl_ctx)

        try:
            seats.coordinate(self._digest, ask)
        except EmbhubError as error:
            self.system_panic(str(error), fl_ctx)

    def _ask(
        self, name: str, data: Mapping[str, bytes], seconds: float, abort_signal: Signal, fl_ctx: FLContext
    ) -> dict[str, bytes]:
        answers: dict[str, bytes] = {}
        guard, tasks, until = threading.Lock(), [], time.monotonic() + seconds

        def received(client_task: Any, fl_ctx: FLContext) -> None:  # noqa: ARG001 (as FLARE calls it)
            answer = client_task.result.get(DATA)
            if isinstance(answer, bytes) and len(answer) <= MAX_BYTES:
                with guard:
                    answers.setdefault(client_task.client.name, answer)

        here = {client.name for client in self._engine.get_clients()}
        for site in sorted(here & set(data)):
            content = Shareable()
            content[NAME], content[DATA] = name, data[site]
            task = Task(TASK, content, timeout=int(seconds) + 1, result_received_cb=received)
            tasks.append(task)
            self.broadcast(task=task, fl_ctx=fl_ctx, targets=[site], min_responses=1)
        while time.monotonic() < until and not abort_signal.triggered:
            if all(task.completion_status is not None for task in tasks):
                break
            time.sleep(_LOOK)
        for task in tasks:
            self.cancel_task(task, fl_ctx=fl_ctx)
        if abort_signal.triggered:
            raise StoppedError("the job was stopped", "submit it again: the study goes on with its next number")
        with guard:
            return dict(answers)


class StoppedError(EmbhubError):
    """FLARE was told to stop."""


class Answering(Executor):  # type: ignore[misc]  # FLARE has no types
    """This site's part of the study with this digest, which it must have joined."""

    def __init__(self, study: str) -> None:
        super().__init__()
        self._digest, self._stack = study, ExitStack()
        self._site: StudySite | None = None

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:  # noqa: ARG002 (as FLARE calls it)
        """Let go of the study's folder when the job ends."""
        if event_type == EventType.END_RUN:
            self._stack.close()
            self._site = None

    def execute(
        self,
        task_name: str,
        shareable: Shareable,
        fl_ctx: FLContext,  # noqa: ARG002 (as FLARE calls it)
        abort_signal: Signal,  # noqa: ARG002 (likewise)
    ) -> Shareable:
        """The study's answer to a task, which is bytes whatever it says."""
        name, data = shareable.get(NAME), shareable.get(DATA)
        if task_name != TASK or not isinstance(name, str) or not isinstance(data, bytes):
            return make_reply(ReturnCode.TASK_UNKNOWN)
        try:
            if self._site is None:
                self._site = self._stack.enter_context(seats.open_site(self._digest))
        except EmbhubError:  # what is wrong here is no affair of the coordinator's
            return make_reply(ReturnCode.EXECUTION_EXCEPTION)
        reply = make_reply(ReturnCode.OK)
        reply[DATA] = self._site.answer(name, data)
        return reply
