"""A FLARE network for a study: kits for its machines, a site's policy, processes, and the job. Imports FLARE late.

A kit holds a machine's certificate and where the coordinator is. The coordinator makes all of them and hands each site
its own; what a kit may do at a site is settled by the site, by `guard`.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast

from embhub.durable import write_atomic
from embhub.errors import ConfigError
from embhub.project import how_to_install

COORDINATING: Final = "embhub.diffusion.studies.flare.carrier.Coordinating"
ANSWERING: Final = "embhub.diffusion.studies.flare.carrier.Answering"
PROJECT: Final = "embhub"
_USER = "coordinator@embhub.org"
_INTERVAL = 0.1
"""Seconds after which a site asks again for a task."""
_PATIENCE, _LOOK = 60.0, 0.5
_NOBODY = dict.fromkeys(("clone_job", "download_job", "view", "operate", "shell_commands", "byoc"), "none")
RIGHTS: Final = {
    "format_version": "1.0",
    "permissions": {"project_admin": {**_NOBODY, "submit_job": "any", "manage_job": "any"}},
}


class CarrierError(ConfigError):
    """FLARE is missing, or did not do what it was asked for."""


def provision(folder: Path, host: str, port: int, sites: Sequence[str]) -> Path:
    """Kits for a coordinator at `host`:`port`, for these sites, and for who submits jobs; returns where they lie.

    They are `coordinator`, one by each site's name, and `submitter`.

    Raises:
        CarrierError: FLARE is missing, or refuses a name.
        ConfigError: there are kits already.
    """
    if (kits := folder / "kits").exists():
        raise ConfigError(f"{kits} is there already", "a study's kits are made once")
    people = [
        {"name": host, "type": "server", "org": "coordinator", "fed_learn_port": port, "admin_port": port},
        {"name": _USER, "type": "admin", "org": "coordinator", "role": "project_admin"},
        *({"name": site, "type": "client", "org": "site"} for site in sites),
    ]
    builder = "nvflare.lighter.impl"
    builders = [
        {"path": f"{builder}.workspace.WorkspaceBuilder", "args": {"template_file": ["master_template.yml"]}},
        {"path": f"{builder}.static_file.StaticFileBuilder", "args": {"config_folder": "config", "scheme": "tcp"}},
        {"path": f"{builder}.cert.CertBuilder"},
        {"path": f"{builder}.signature.SignatureBuilder"},
    ]
    project = {"api_version": 3, "name": PROJECT, "participants": people, "builders": builders}
    write_atomic(folder / "project.yml", json.dumps(project).encode())
    _nvflare("provision", "-p", str(folder / "project.yml"), "-w", str(folder / "made"))
    made = folder / "made" / PROJECT / "prod_00"
    for name, kit in {host: "coordinator", _USER: "submitter", **{site: site for site in sites}}.items():
        shutil.copytree(made / name, kits / kit)
        (kits / kit).chmod(0o700)
    shutil.rmtree(folder / "made")  # with the key that certificates are signed with
    guard(kits / "coordinator", [COORDINATING])
    for site in sites:
        guard(kits / site, [ANSWERING])
    return kits


def guard(kit: Path, classes: Sequence[str]) -> None:
    """Let jobs name these classes and no other, bring no code, read no file or log, and stop no machine.

    Raises:
        ConfigError: no kit, or it cannot be written.
    """
    local = kit / "local"
    try:
        resources: dict[str, Any] = json.loads((local / "resources.json.default").read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{kit} is no kit of a FLARE machine") from error
    resources |= {"class_list_enforcement_mode": "enforce", "class_allow_list": list(classes)}
    resources["allow_log_streaming"] = False
    resources["components"] = [part for part in resources.get("components", []) if part["id"] != "site_log_streamer"]
    write_atomic(local / "resources.json", json.dumps(resources, indent=1).encode())
    if ANSWERING in classes:  # on the coordinator's own machine its own people may look
        write_atomic(local / "authorization.json", json.dumps(RIGHTS, indent=1).encode())


def start(kit: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start the machine of a kit as a process of its own; its log is `process.log` in the kit.

    Args:
        env: further environment, such as EMBHUB_HOME.

    Raises:
        CarrierError: FLARE is missing.
    """
    check_installed()
    kit = kit.absolute()  # FLARE goes elsewhere
    site = kit / "startup" / "fed_client.json"
    name = json.loads(site.read_bytes())["client"]["fqsn"] if site.exists() else ""
    module, setup = ("client.client_train", "fed_client.json") if name else ("server.server_train", "fed_server.json")
    command = [sys.executable, "-u", "-m", f"nvflare.private.fed.app.{module}", "-m", str(kit), "-s", setup, "--set"]
    command += ["secure_train=true", "config_folder=config", f"org={'site' if name else 'coordinator'}"]
    command += [f"uid={name}"] if name else []
    if not name:
        _begin_afresh(kit)
    with (kit / "process.log").open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(env or {})},
            start_new_session=True,
        )  # fmt: skip


def _begin_afresh(kit: Path) -> None:
    """Let a server keep its jobs in its kit, and forget earlier ones: what a study is at lies in the study's folder.

    FLARE's own place is one for all servers of a machine, where they run each other's jobs.
    """
    path, storage = kit / "local" / "resources.json", kit / "storage"
    shutil.rmtree(storage, ignore_errors=True)
    resources: dict[str, Any] = json.loads(path.read_bytes())
    resources["snapshot_persistor"]["args"]["storage"]["args"]["root_dir"] = str(storage / "snapshots")
    (jobs,) = (part for part in resources["components"] if part["id"] == "job_manager")
    jobs["args"]["uri_root"] = str(storage / "jobs")
    write_atomic(path, json.dumps(resources, indent=1).encode())


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a machine that `start` started, at once, with the job that it runs; a study goes on from what is on disk."""
    import psutil  # comes with FLARE

    try:
        machine = psutil.Process(process.pid)
        running = [machine, *machine.children(recursive=True)]  # a job is in a session of its own
    except psutil.NoSuchProcess:
        running = []
    for each in running:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def run_job(
    kits: Path, digest: str, sites: Sequence[str], *, quorum: int, seconds: float,
    ended: Callable[[], bool] = lambda: False,
) -> str:  # fmt: skip
    """Submit the study's job, and wait for its end; returns FLARE's word for it.

    Who is connected then is in the job: all sites are waited for at first, and a quorum after `_PATIENCE` seconds.

    Args:
        ended: asked again and again whether the study has ended here, before FLARE says so; it may raise.

    Raises:
        CarrierError: the coordinator or the sites cannot be reached, or the job does not end in time.
    """
    check_installed()
    kits = kits.absolute()
    with _logging_to(kits / "submitter.log"):
        return _submit(kits, _write_job(kits / "job", digest, sites, quorum), len(sites), quorum, seconds, ended)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Keep FLARE's log from a person's terminal, where warnings go that nobody takes."""
    handler = logging.FileHandler(path, delay=True)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def _submit(
    kits: Path, job: Path, sites: int, quorum: int, seconds: float, ended: Callable[[], bool] = lambda: False
) -> str:
    began, until, session = time.monotonic(), time.monotonic() + seconds, _Session(kits)
    token, name, here, last = secrets.token_hex(16), "", 0, ""
    try:
        while time.monotonic() < until:
            if ended():
                return ""
            try:
                if name:
                    if (status := str(session.get().get_job_meta(name).get("status", ""))).startswith("FINISHED"):
                        return status
                elif here >= sites or (here >= quorum and time.monotonic() > began + _PATIENCE):
                    name = session.get().submit_job(str(job), submit_token=token)
                    continue
                else:
                    here = len(session.get().get_system_info().client_info)
            except Exception as error:  # noqa: BLE001 (FLARE raises many kinds; a busy server answers late)
                last = f": {type(error).__name__}: {error}"
                session.close()
            time.sleep(_LOOK)
    finally:
        session.close()
    if name:
        raise CarrierError(f"the study did not end within {seconds:g} s{last}", "run it again: it goes on")
    raise CarrierError(f"{here} sites are connected, and the study takes {quorum}{last}", "start their clients")


class _Session:
    """A session with FLARE's server, opened when it is asked for, and anew once it was closed."""

    def __init__(self, kits: Path) -> None:
        self._kit, self._open = str(kits / "submitter"), cast(Any, None)
        server = json.loads((kits / "submitter" / "startup" / "fed_admin.json").read_bytes())["admin"]
        self._address = server["host"], server["port"]

    def get(self) -> Any:
        from nvflare.fuel.flare_api.flare_api import new_secure_session

        if self._open is None:
            # FLARE keeps what did not connect, and later sessions hang for it: so the port is tried first.
            socket.create_connection(self._address, timeout=5.0).close()
            self._open = new_secure_session(_USER, self._kit, timeout=10.0)
        return self._open

    def close(self) -> None:
        if self._open is not None:
            with suppress(Exception):
                self._open.close()
        self._open = None


def _write_job(folder: Path, digest: str, sites: Sequence[str], quorum: int) -> Path:
    """A job that names two installed classes and holds no code."""
    server = {
        "format_version": 2,
        "server": {"task_request_interval": _INTERVAL},
        "workflows": [{"id": "study", "path": COORDINATING, "args": {"study": digest}}],
        "components": [],
    }
    client = {
        "format_version": 2,
        "executors": [{"tasks": ["study"], "executor": {"path": ANSWERING, "args": {"study": digest}}}],
        "components": [],
    }
    meta = {
        "name": "study",
        "resource_spec": {},
        "min_clients": quorum,
        "deploy_map": {"coordinator": ["server"], "site": list(sites)},
    }
    for name, content in {
        "meta.json": meta,
        "coordinator/config/config_fed_server.json": server,
        "site/config/config_fed_client.json": client,
    }.items():
        write_atomic(folder / name, json.dumps(content).encode())
    return folder


def _nvflare(*words: str) -> None:
    check_installed()
    done = subprocess.run([sys.executable, "-m", "nvflare.cli", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CarrierError(f"FLARE refuses: {(done.stderr or done.stdout)[-500:]}")


def check_installed() -> None:
    """Raises CarrierError: FLARE is missing."""
    from importlib.util import find_spec

    if find_spec("nvflare") is None:
        raise CarrierError("NVIDIA FLARE is not installed", how_to_install("study"))
