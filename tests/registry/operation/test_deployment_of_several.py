"""Compose, Kubernetes and systemd for several servers: valid, in agreement with those for one, and tried as written."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire.hub import Hub
from tests.registry.operation.test_deployment_files import COMPOSE, DATA, PORT, of_kind, pods
from tests.support import releases, servers, tools
from tests.support.nginx import DEPLOY, balancer, needs_nginx
from tests.support.postgres import Server
from tests.support.servers import RunningRegistry
from tests.support.sites import Site

SEVERAL: dict[str, Any] = yaml.safe_load((DEPLOY / "compose/several.yaml").read_text())
SERVERS = ["registry-1", "registry-2", "registry-3"]
FOLDER = DEPLOY / "kubernetes/several"
DEPLOYMENT: dict[str, Any] = yaml.safe_load((FOLDER / "deployment.yaml").read_text())
POD: dict[str, Any] = DEPLOYMENT["spec"]["template"]["spec"]
DOCS = DEPLOY.parents[1] / "docs/how-to"
INSTALL = re.compile(r"(?m)/opt/embhub/bin/pip install (?!--require-hashes)([^`\n]+?)`?$")
DROP_IN = (DEPLOY / "systemd/several.conf").read_text()


def waits_for(words: list[str]) -> float:
    """Seconds that `serve` takes to end at most."""
    return sum(float(words[words.index(option) + 1]) for option in ("--drain-seconds", "--grace-seconds"))


@pytest.mark.thorough
def test_compose_is_valid_by_its_published_schema() -> None:
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*words, DEPLOY / "compose/several.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_process_of_compose_has_a_folder_of_its_own_and_shares_the_rest() -> None:
    services, one = SEVERAL["services"], COMPOSE["services"]["registry"]
    folders = [next(v for v in services[name]["volumes"] if v.endswith(f":{DATA}")) for name in SERVERS]
    assert len(set(folders)) == 3
    for name in SERVERS:
        for key in ("image", "build", "env_file", "user", "read_only", "cap_drop", "security_opt", "mem_limit",
                    "pids_limit", "tmpfs", "networks", "depends_on", "restart"):  # fmt: skip
            assert services[name][key] == one[key], (name, key)
        told = {**services[name]["environment"], "FORWARDED_ALLOW_IPS": one["environment"]["FORWARDED_ALLOW_IPS"]}
        assert told == one["environment"]
        words = services[name]["command"]
        assert float(services[name]["stop_grace_period"].removesuffix("s")) > waits_for(words) + 10
    for name, folder in zip(("join-2", "join-3"), folders[1:], strict=True):
        assert services[name]["volumes"] == [folder, f"{folders[0].partition(':')[0]}:/first:ro"]
        assert services[name]["profiles"] == ["once"] and services[name]["read_only"] is True
    sources = [v.partition(":")[0] for s in services.values() for v in s.get("volumes", ())]
    assert services["database"] == {"extends": {"file": "compose.yaml", "service": "database"}}
    sources += [v.partition(":")[0] for v in COMPOSE["services"]["database"]["volumes"]]
    assert {source for source in sources if not source.startswith(".")} == set(SEVERAL["volumes"])
    assert SEVERAL["networks"]["inside"] == {"internal": True}


def test_one_proxy_stands_before_all_processes(tmp_path: Path) -> None:
    proxy, one = SEVERAL["services"]["proxy"], COMPOSE["services"]["proxy"]
    assert [name for name, service in SEVERAL["services"].items() if "ports" in service] == ["proxy"]
    for key in ("image", "volumes", "ports", "read_only", "cap_drop", "cap_add", "security_opt"):
        assert proxy[key] == one[key]
    believed = {SEVERAL["services"][name]["environment"]["FORWARDED_ALLOW_IPS"] for name in SERVERS}
    assert {proxy["networks"]["edge"]["ipv4_address"]} == believed
    assert proxy["environment"]["EMBHUB_UPSTREAM"].split() == [f"{name}:{PORT}" for name in SERVERS]
    tools.require("caddy")
    words = ["caddy", "adapt", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    done = subprocess.run(
        words, env={**os.environ, **proxy["environment"]}, capture_output=True, text=True, check=True
    )  # fmt: skip
    dialled = re.findall(r'"dial":"([^"]+)"', done.stdout)
    assert dialled == [f"{name}:{PORT}" for name in SERVERS]


def test_join_of_compose_gives_the_folder_of_the_first_server() -> None:
    """`test_sharing` has what the command copies from it: every key but the root's."""
    (script,) = SEVERAL["services"]["join-2"]["command"]
    assert script == "embhub-registry storage join --keys-from /first/keys"


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_manifests_are_valid_by_the_schemas_of_kubernetes(version: str) -> None:
    found = [one for path in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]
    assert [one["kind"] for one in found] == ["PersistentVolumeClaim", "CronJob", "Deployment", "PodDisruptionBudget"]
    for one in found:
        kubernetes_validate.validate(one, version, strict=True)
    label = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert found[-1]["spec"]["selector"]["matchLabels"] == label
    assert found[-1]["spec"]["minAvailable"] < DEPLOYMENT["spec"]["replicas"]
    assert of_kind("Service")["embhub-registry"]["spec"]["selector"] == label


def test_pods_of_several_differ_from_those_of_one_by_their_folder_alone() -> None:
    one = pods()["embhub-registry"]
    for key in ("automountServiceAccountToken", "enableServiceLinks", "securityContext"):
        assert POD[key] == one[key]
    (container,) = POD["containers"]
    (join,) = POD["initContainers"]
    for key in ("args", "envFrom", "ports", "startupProbe", "livenessProbe", "readinessProbe", "resources",
                "securityContext"):  # fmt: skip
        assert container[key] == one["containers"][0][key], key
    assert join["envFrom"] == container["envFrom"] and join["securityContext"] == container["securityContext"]
    assert POD["terminationGracePeriodSeconds"] > waits_for(container["args"]) + 10
    assert not [volume for volume in POD["volumes"] if "persistentVolumeClaim" in volume], "a pod keeps nothing"
    for made in (join, container):
        assert made["env"] == [{"name": "EMBHUB_REGISTRY_DIR", "value": f"{DATA}/hub"}]
        assert {mount["name"] for mount in made["volumeMounts"]} <= {volume["name"] for volume in POD["volumes"]}
    assert "/keys" not in {mount["mountPath"] for mount in container["volumeMounts"]}
    applied = re.findall(r"-f \.\./([\w-]+\.yaml)", (FOLDER / "deployment.yaml").read_text())
    assert len(applied) == 5 and all((FOLDER.parent / name).exists() for name in applied)


def test_the_nightly_backup_joins_as_a_pod_does_and_runs_the_command_of_one_server() -> None:
    (job,) = [one for one in yaml.safe_load_all((FOLDER / "backup.yaml").read_text()) if one["kind"] == "CronJob"]
    one = of_kind("CronJob")["embhub-registry-backup"]
    schedule, each = job["spec"] | {"jobTemplate": 0}, one["spec"] | {"jobTemplate": 0}
    assert schedule == each
    made, before = (found["spec"]["jobTemplate"]["spec"]["template"]["spec"] for found in (job, one))
    for key in ("restartPolicy", "automountServiceAccountToken", "enableServiceLinks", "securityContext"):
        assert made[key] == before[key]
    assert made["initContainers"] == POD["initContainers"]
    (container,), (server,), (earlier,) = made["containers"], POD["containers"], before["containers"]
    for key in ("command", "args", "resources", "securityContext", "volumeMounts"):
        assert container[key] == earlier[key], key
    assert (container["env"], container["envFrom"]) == (server["env"], server["envFrom"])
    shared = {volume["name"]: volume for volume in POD["volumes"]}
    assert [volume for volume in made["volumes"] if shared.get(volume["name"]) != volume] == [
        volume for volume in before["volumes"] if volume["name"] == "backups"
    ]


def test_each_way_to_install_names_both_packages_and_several_servers_their_driver() -> None:
    """From the source, with `--no-deps` after the lock file, which has neither package of ours, and upgraded."""
    single, several = ((DOCS / name).read_text() for name in ("run-a-registry.md", "run-a-registry-at-scale.md"))
    both = [words for words in INSTALL.findall(single) if "./embhub/bases" not in words]
    assert len(both) == 3 and all(words.split()[-2:] == ["./embhub", "./embhub/registry"] for words in both)
    lock = (DEPLOY / "requirements.lock").read_text()
    assert not re.search(r"(?m)^embhub", lock)
    assert re.search(r"(?m)^psycopg==", lock)
    assert INSTALL.findall(several)[0] == "./embhub './embhub/registry[postgresql]'"


def test_the_password_file_is_made_for_the_user_before_a_command_reads_it() -> None:
    page = (DOCS / "run-a-registry-at-scale.md").read_text().partition("## Several servers")[2]
    (file,) = set(re.findall(r"PGPASSFILE=(\S+)", page))
    steps = [
        f"$ sudo install -d {Path(file).parent}\n",
        f"$ sudo install -m 0600 -o embhub-registry -g embhub-registry /dev/null {file}\n", f"PGPASSFILE={file}\n",
        "init --name",
    ]  # fmt: skip
    places = [page.index(step) for step in steps]
    assert places == sorted(places)


def test_the_drop_in_waits_for_drain_and_grace() -> None:
    cleared, words = re.findall(r"(?m)^ExecStart=(.*)$", DROP_IN)
    assert cleared == "" and "--host ${LISTEN}" in words
    (wait,) = re.findall(r"(?m)^TimeoutStopSec=(\d+)$", DROP_IN)
    assert float(wait) > waits_for(words.split()) + 10
    (file,) = re.findall(r"(?m)^EnvironmentFile=(.+)$", DROP_IN)
    example = (DEPLOY / "systemd/server.env.example").read_text()
    assert file in example and {"LISTEN=", "FORWARDED_ALLOW_IPS=", "PGPASSWORD="} <= set(example.splitlines())
    assert all(line.endswith("=") for line in example.splitlines() if line and not line.startswith("#"))


def test_a_server_of_several_is_started_again_for_as_long_as_its_database_is_away() -> None:
    """`serve` ends at once where the database cannot be reached, so a limit of starts would leave the unit failed."""
    unit = (DEPLOY / "systemd/embhub-registry.service").read_text()
    assert "Restart=on-failure" in unit.splitlines()
    settings = configparser.RawConfigParser(strict=False)
    settings.optionxform = str  # type: ignore[assignment, method-assign]  # as the module's manual says
    settings.read_string(DROP_IN)
    assert settings["Unit"]["StartLimitIntervalSec"] == "0", "no limit of starts"
    assert int(settings["Service"]["RestartSec"]) >= 5, "and not without a pause"


@tools.needs("systemd-analyze")
def test_systemd_takes_the_drop_in(tmp_path: Path) -> None:
    unit = tmp_path / "embhub-registry.service"
    unit.write_text(
        (DEPLOY / "systemd/embhub-registry.service").read_text().replace("/opt/embhub/bin/embhub-registry", "/bin/true")
    )
    folder = tmp_path / "embhub-registry.service.d"
    folder.mkdir()
    (folder / "several.conf").write_text(DROP_IN.replace("/opt/embhub/bin/embhub-registry", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not re.search(r"embhub-registry\.service:|several\.conf", done.stderr), done.stderr
    (folder / "several.conf").write_text(DROP_IN.replace("ExecStart=\n", "ExecStrat=\n"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert "several.conf" in done.stderr, "the drop-in is read"


# ── tried ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.thorough
@pytest.mark.slow
@needs_nginx
def test_three_pods_behind_one_proxy_lead_to_a_verified_pull(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifests' own words over PostgreSQL; only host, ports and folders are others. One pod ends then."""
    front, operator = f"http://127.0.0.1:{servers.free_port()}", tmp_path / "operator"
    place = ("--database", postgresql.new_schema())
    made = servers.run_here("--dir", operator, *place, "init", "--url", front, "--json")
    servers.run_here("--dir", operator, "storage", "share")
    facts = json.loads(made.stdout)
    hub = RunningRegistry(operator, front, admin=facts["token"], root_fingerprint=facts["root_key"])
    hub.add_key(releases.SITE, namespace="radboud")
    alice = hub.add_user("alice", namespace="radboud")
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in re.findall(r"--from-file=(\S+)", (FOLDER / "deployment.yaml").read_text()):
        shutil.copy(operator / "keys" / name, keys / name)
    monkeypatch.setenv("EMBHUB_REGISTRY_DATABASE", place[1])
    with ExitStack() as running:
        urls = [running.enter_context(pod(tmp_path / f"pod-{number}", keys)) for number in range(3)]
        with balancer([url for url, _ in urls], int(front.rpartition(":")[2]), tmp_path / "nginx"):
            Hub(front, token=alice).push(releases.make_release(), releases.REPOSITORY)
            for url, _ in urls:
                assert RunningRegistry(operator, url, "", "").get("/readyz").status == 200
            Site(tmp_path / "site", front, "").enter(monkeypatch)
            roots.add_root(front, fingerprint=hub.root_fingerprint)
            assert pulling.pull(releases.REPOSITORY).embedding.token
            back_up(tmp_path / "night", keys)
            urls[0][1].send_signal(signal.SIGTERM)
            assert urls[0][1].wait(timeout=60) == 0
            for _ in range(6):
                assert hub.get(f"/api/models/{releases.REPOSITORY}").status == 200


def join(folder: Path, keys: Path) -> dict[str, str]:
    """What the first container of a pod does, twice as after a restart of its node; the environment of the second."""
    (container,) = POD["initContainers"]
    folder.mkdir()
    place = container["env"][0]["value"].replace(DATA, str(folder))
    environment = {**servers.environment(), "EMBHUB_REGISTRY_DIR": place}
    script = container["args"][0].replace(
        "embhub-registry storage join", f"{sys.executable} -m embhub_registry storage join"
    )
    script = script.replace("--keys-from /keys", f"--keys-from {shlex.quote(str(keys))}")
    script = script.replace(f"{DATA}/hub", shlex.quote(str(folder / "hub")))
    for _ in range(2):
        subprocess.run([*container["command"], script], env=environment, check=True, capture_output=True, timeout=60)
    return environment


def back_up(folder: Path, keys: Path) -> None:
    """The nightly job while the pods serve; its backup is whole."""
    environment = join(folder, keys)
    (job,) = [one for one in yaml.safe_load_all((FOLDER / "backup.yaml").read_text()) if one["kind"] == "CronJob"]
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    script = container["args"][0].replace("embhub-registry", f"{sys.executable} -m embhub_registry")
    script = script.replace("/backups/", f"{folder}/backups/")
    (folder / "backups").mkdir()
    subprocess.run([*container["command"], script], env=environment, check=True, capture_output=True, timeout=120)
    (made,) = (folder / "backups").iterdir()
    public = keys.parent / "operator/keys/backup.pub"
    servers.run_here("--dir", folder / "restored", "backup", "restore", made, "--signed-by", public)


@contextmanager
def pod(folder: Path, keys: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """One pod: its first container, and then its server."""
    environment, (container,) = join(folder, keys), POD["containers"]
    port = servers.free_port()
    words = [{PORT: str(port), "0.0.0.0": "127.0.0.1", "10": "0"}.get(word, word) for word in container["args"]]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "embhub_registry", *words], env=environment, stdout=subprocess.PIPE, stderr=log,
            text=True,
        )  # fmt: skip
    try:
        servers.wait_until_ready(process, f"http://127.0.0.1:{port}", log=folder / "server.log")
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
        assert process.stdout is not None
        process.stdout.close()
