"""Cells of NVIDIA FLARE, by which the coordinator asks and a site answers. Needs FLARE.

A cell reads more kinds of messages than a study has: for other cells, for its own upkeep, with objects in them. Each
side drops all but its own before FLARE reads on. A site answers the coordinator's machine alone, and the coordinator
passes nothing on from site to site.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from nvflare.fuel.f3.cellnet.core_cell import CoreCell, TargetMessage
from nvflare.fuel.f3.cellnet.defs import Encoding, MessageHeaderKey, MessagePropKey, MessageType
from nvflare.fuel.f3.message import Message
from nvflare.fuel.utils.config_service import ConfigService

from embhub.diffusion.studies.flare import kits
from embhub.diffusion.studies.flare.kits import CarrierError
from embhub.study.tasks import MAX_BYTES

SERVER: Final = "server"
"""What FLARE calls the cell that others connect to."""
CHANNEL, TOPIC, NAME = "embhub", "study", "embhub_task"
PATIENCE, _LOOK = 60.0, 0.25
"""Seconds after which a quorum is enough, and between two looks at who is connected."""
Answer = Callable[[str, bytes], bytes]


class Coordinator:
    """The coordinator's cell; see `listening`."""

    def __init__(self, cell: CoreCell, sites: Sequence[str]) -> None:
        self._cell, self._sites = cell, tuple(sites)

    def here(self) -> list[str]:
        """The sites that are connected."""
        return [site for site in self._sites if self._cell.is_cell_connected(site)]

    def wait(self, quorum: int, on_wait: Callable[[int], None], *, patience: float = PATIENCE) -> None:
        """Wait for all sites, or once `patience` seconds have passed for a quorum; `on_wait` hears how many are here.

        Raises whatever `on_wait` does.
        """
        until = time.monotonic() + patience
        while (here := len(self.here())) < (len(self._sites) if time.monotonic() < until else quorum):
            on_wait(here)
            time.sleep(_LOOK)

    def ask(self, task: str, data: Mapping[str, bytes], seconds: float) -> dict[str, bytes]:
        """What each site that is connected, and asked in `data`, answers within some seconds."""
        here = {site: data[site] for site in self.here() if site in data}
        if not here:
            return {}
        asked = {site: TargetMessage(site, CHANNEL, TOPIC, Message({NAME: task}, body)) for site, body in here.items()}
        found = self._cell.broadcast_multi_requests(asked, timeout=seconds)
        return {site: bytes(reply.payload) for site, reply in found.items() if reply.payload}


@contextmanager
def listening(kit: Path, sites: Sequence[str]) -> Iterator[Coordinator]:
    """The coordinator's cell, to which these sites connect. FLARE has one of them in a process, once.

    Raises:
        CarrierError: its port is taken, or this process had one before.
        ConfigError: no kit.
    """

    def is_answer(message: Message, origin: str, peer: str) -> bool:
        said = message.get_header(MessageHeaderKey.RETURN_CODE)  # FLARE counts by it
        return isinstance(said, str) and _kind(message) == MessageType.REPLY and origin == peer and origin in sites

    with _cell(kits.read(kit), SERVER, {site: site for site in sites}, is_answer) as cell:
        yield Coordinator(cell, sites)


@contextmanager
def answering(kit: Path, site: str, answer: Answer) -> Iterator[None]:
    """A site's cell, which connects to the coordinator, again and again, and answers what that asks.

    Args:
        answer: called with a task's name and data, in threads of FLARE.

    Raises:
        CarrierError, ConfigError: as `listening`.
    """
    known = kits.read(kit)

    def is_task(message: Message, origin: str, peer: str) -> bool:
        named = re.fullmatch(r"[a-z]{1,50}", str(message.get_header(NAME)))
        return bool(named) and _kind(message) == MessageType.REQ and origin == SERVER and peer == known.host

    def reply(message: Message) -> Message:
        return Message({}, answer(str(message.get_header(NAME)), bytes(message.payload)))

    with _cell(known, site, {SERVER: known.host}, is_task, reply):
        yield


@contextmanager
def _cell(
    kit: kits.Kit, name: str, identities: Mapping[str, str], wanted: Callable[[Message, str, str], bool],
    reply: Callable[[Message], Message] | None = None,
) -> Iterator[CoreCell]:  # fmt: skip
    """`identities` are the names in the certificates of the machines that this one talks with."""
    kind = "server" if name == SERVER else "client"
    credentials = {"ca_cert": str(kit.root), f"{kind}_cert": str(kit.certificate), f"{kind}_key": str(kit.key)}
    host = "0.0.0.0" if name == SERVER else kit.host  # noqa: S104 (sites connect from elsewhere)
    # Or FLARE looks for its settings, which may name code, everywhere below the working directory.
    ConfigService.initialize(section_files={}, config_path=[str(kit.root.parent)])
    try:
        cell = CoreCell(
            fqcn=name, root_url=f"tcp://{host}:{kit.port}", secure=True, credentials=credentials,
            auth_identity_map=dict(identities),
        )  # fmt: skip
        _keep(cell, wanted)
        if reply is not None:
            cell.register_request_cb(CHANNEL, TOPIC, reply)
        cell.start()
    except Exception as error:
        raise CarrierError(f"FLARE cannot use {kit.host}:{kit.port}: {error}") from error
    try:
        yield cell
    finally:
        cell.stop()


def _kind(message: Message) -> Any:
    return message.get_header(MessageHeaderKey.MSG_TYPE)


def _keep(cell: CoreCell, wanted: Callable[[Message, str, str], bool]) -> None:
    """Let a cell read what is `wanted` by message, origin and name in the peer's certificate, and drop all else."""

    def drop(message: Message) -> bool:
        header: Callable[[str], Any] = message.get_header
        origin, peer = str(header(MessageHeaderKey.ORIGIN)), str(message.get_prop(MessagePropKey.COMMON_NAME))
        plain = (
            (header(MessageHeaderKey.CHANNEL), header(MessageHeaderKey.TOPIC)) == (CHANNEL, TOPIC)
            and header(MessageHeaderKey.DESTINATION) == cell.get_fqcn()
            and header(MessageHeaderKey.FROM_CELL) == origin
            and header(MessageHeaderKey.PAYLOAD_ENCODING) == Encoding.BYTES  # no object is made of it
            and not header(MessageHeaderKey.SECURE)
            and not header(MessageHeaderKey.CONN_URL)  # FLARE would connect to it
            and message.payload is not None
            and len(message.payload) <= MAX_BYTES
        )
        return not (plain and wanted(message, origin, peer))

    cell.add_incoming_filter("*", "*", drop)
