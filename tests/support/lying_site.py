"""A site of a study that lies, as a process: `python -m tests.support.lying_site KIT NAME`.

It connects under NAME with the certificate in KIT, asks another site for a step as if it were the coordinator, and
prints as JSON whether it was connected, and what came back.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from nvflare.fuel.f3.cellnet.core_cell import CoreCell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.message import Message

from embhub.diffusion.studies.flare import kits, network

LIES: tuple[dict[str, str], ...] = ({}, {MessageHeaderKey.ORIGIN: "server"}, {MessageHeaderKey.FROM_CELL: "server"})


def cell_of(kit: Path, name: str) -> CoreCell:
    """A cell of FLARE without anything of ours."""
    known, kind = kits.read(kit), "server" if name == "server" else "client"
    files = {"ca_cert": known.root, f"{kind}_cert": known.certificate, f"{kind}_key": known.key}
    return CoreCell(
        fqcn=name, root_url=f"tcp://{known.host}:{known.port}", secure=True,
        credentials={what: str(path) for what, path in files.items()}, auth_identity_map={"server": known.host},
    )  # fmt: skip


def main(kit: str, name: str) -> None:
    """Lie, and print what came of it."""
    cell = cell_of(Path(kit), name)
    cell.start()
    for _ in range(30):
        if connected := bool(cell.is_cell_connected("server")):
            break
        time.sleep(0.1)
    time.sleep(1)
    back = []
    for target in ("north", "server"):
        for headers in LIES:
            asked = Message({network.NAME: "begin", **headers}, b"x")
            back.append(cell.send_request(network.CHANNEL, network.TOPIC, target, asked, timeout=1.0).payload)
    print(json.dumps({"connected": connected and bool(cell.is_cell_connected("server")), "back": list(map(str, back))}))
    sys.stdout.flush()
    sys.stdin.read()  # stays until it is let go


if __name__ == "__main__":
    main(*sys.argv[1:])
