"""Compose, Kubernetes and systemd: valid by public schemas, in agreement with the program and with each other."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from embhub_registry.cli import root
from embhub_registry.cli.lazy import LazyGroup
from tests.support import servers
from tests.support.nginx import DEPLOY
from tests.support.servers import Answer, RunningRegistry

PORT, USER, DATA, BACKUPS = "8642", 10001, "/data", "/backups"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
KUBERNETES = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
FILES = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and path.suffix != ".lock"]


def resources() -> Iterator[dict[str, Any]]:
    for path in KUBERNETES:
        yield from yaml.safe_load_all(path.read_text())


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {found["metadata"]["name"]: found for found in resources() if found["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    """The specifications of all pods."""
    found = {name: made["spec"]["template"]["spec"] for name, made in (of_kind("Deployment") | of_kind("Job")).items()}
    jobs = of_kind("CronJob").items()
    return found | {name: made["spec"]["jobTemplate"]["spec"]["template"]["spec"] for name, made in jobs}


def check_command(words: list[str]) -> None:
    """Fail where there is no such command, or it does not take these options; `words` begin after the program."""
    group: click.Command = root
    while True:
        known = {name for parameter in group.params for name in parameter.opts if name.startswith("-")}
        flags = {name for p in group.params if getattr(p, "is_flag", False) for name in p.opts}
        while words and words[0].startswith("-"):
            name = words.pop(0)
            assert name in known, f"{group.name} has no {name}"
            if name not in flags:
                words.pop(0)
        if not isinstance(group, click.Group):
            break
        assert isinstance(group, LazyGroup) or group.commands
        found = group.get_command(click.Context(group), words.pop(0))
        assert found is not None
        group = found
    rest = [word for word in words if word.startswith("--")]
    assert not set(rest) - {name for p in group.params for name in p.opts}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line of the program in these files: where, and its words."""
    for pod, spec in pods().items():
        (container,) = spec["containers"]
        if "command" not in container:
            yield pod, list(container["args"])
    for path in FILES:
        text = path.read_text()
        found = re.findall(r"(?:bin/|exec |registry )embhub-registry ([^\n]+)|run --rm registry(?:-\d)? ([^\n]+)", text)
        for line in (first or second for first, second in found):
            yield path.name, shlex.split(re.sub(r"\$+\{RECIPIENT:\+(.*)\}", r"\1", line).rstrip("'] ").replace("'", ""))
        for line in re.findall(r"(?m)^CMD (\[.*\])", text):
            yield path.name, json.loads(line)


@pytest.mark.thorough
def test_compose_is_valid_by_its_published_schema() -> None:
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*words, DEPLOY / "compose/compose.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_manifests_are_valid_by_the_schemas_of_kubernetes(version: str) -> None:
    for resource in resources():
        kubernetes_validate.validate(resource, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**next(iter(of_kind("Deployment").values())), "spec": {"replica": 1}}, version)


def test_every_command_and_option_exists() -> None:
    seen = list(commands())
    assert {where for where, _ in seen} >= {
        "compose.yaml", "embhub-registry", "embhub-registry-init", "embhub-registry.service",
        "embhub-registry-backup.service", "Containerfile", "backup.yaml", "several.yaml", "several.conf",
    }  # fmt: skip
    for where, words in seen:
        try:
            check_command(list(words))
        except (AssertionError, IndexError) as error:
            raise AssertionError(f"{where}: {words}: {error}") from error


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError):
        check_command(["serve", "--hosts", "0.0.0.0"])
    with pytest.raises(AssertionError):
        check_command(["server"])


def test_every_variable_is_one_that_the_program_reads() -> None:
    known = {"EMBHUB_HOST", "EMBHUB_UPSTREAM"}  # Caddy's
    listed = [root, *(root.get_command(click.Context(root), name) for name in root.list_commands(click.Context(root)))]
    known |= {str(p.envvar) for command in listed if command is not None for p in command.params if p.envvar}
    for path in FILES:
        assert set(re.findall(r"\bEMBHUB_[A-Z_]*[A-Z]", path.read_text())) - {"EMBHUB_REGISTRY"} <= known, path


def test_ports_paths_and_users_agree() -> None:
    container = (DEPLOY / "Containerfile").read_text()
    assert f"EXPOSE {PORT}" in container and f'VOLUME ["{DATA}", "{BACKUPS}"]' in container
    assert (
        f"EMBHUB_REGISTRY_DIR={DATA}" in container
        and f"USER {USER}" in container
        and f'"--port", "{PORT}"' in container
    )
    assert f"{{$EMBHUB_UPSTREAM:127.0.0.1:{PORT}}}" in (DEPLOY / "Caddyfile").read_text()
    services = COMPOSE["services"]
    registry, proxy = services["registry"], services["proxy"]
    assert proxy["environment"]["EMBHUB_UPSTREAM"] == f"registry:{PORT}"
    assert {v.partition(":")[2] for v in registry["volumes"]} == {DATA, BACKUPS} and registry["read_only"] is True
    assert registry["user"] == f"{USER}:{USER}" and registry["environment"]["EMBHUB_REGISTRY_DIR"] == DATA
    believed = registry["environment"]["FORWARDED_ALLOW_IPS"]
    assert proxy["networks"]["edge"]["ipv4_address"] == believed
    assert registry["build"]["dockerfile"] == "registry/deploy/Containerfile"
    assert (DEPLOY / "compose" / registry["build"]["context"]).resolve() == DEPLOY.parents[1]
    for source in [v.partition(":")[0] for s in services.values() for v in s.get("volumes", ())]:
        assert source in COMPOSE["volumes"] or (DEPLOY / "compose" / source).exists(), source
    (policy,) = of_kind("NetworkPolicy").values()
    assert policy["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": int(PORT)}]
    container_of = pods()["embhub-registry"]["containers"][0]
    assert container_of["ports"] == [{"name": "http", "containerPort": int(PORT)}]
    assert container_of["args"][container_of["args"].index("--port") + 1] == PORT


def test_what_manifests_refer_to_is_there() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]
    assert {*listed, "init.yaml"} == {path.name for path in KUBERNETES}
    configured = of_kind("ConfigMap")["embhub-registry"]["data"]
    for spec in pods().values():
        claims = {v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
        assert claims <= set(of_kind("PersistentVolumeClaim"))
        (container,) = spec["containers"]
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in spec["volumes"]}
        mounts = {m["mountPath"] for m in container["volumeMounts"]}
        assert configured["EMBHUB_REGISTRY_DIR"] == DATA and {DATA, "/tmp"} <= mounts <= {DATA, BACKUPS, "/tmp"}
        assert [next(iter(source.values()))["name"] for source in container["envFrom"]] == ["embhub-registry"] * 2
    label = of_kind("Deployment")["embhub-registry"]["spec"]["template"]["metadata"]["labels"]
    assert of_kind("Service")["embhub-registry"]["spec"]["selector"] == label
    (rule,) = of_kind("Ingress")["embhub-registry"]["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "embhub-registry", "port": {"name": "http"}}


def test_nothing_runs_with_more_rights_than_it_needs() -> None:
    for spec in pods().values():
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == USER
        assert spec["automountServiceAccountToken"] is False
        (container,) = spec["containers"]
        limited = container["securityContext"]
        assert limited["readOnlyRootFilesystem"] and not limited["allowPrivilegeEscalation"]
        assert limited["capabilities"] == {"drop": ["ALL"]} and container["resources"]["limits"]["memory"]
    for name, service in COMPOSE["services"].items():
        assert "privileged" not in service and service.get("network_mode") is None
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "ports" not in service or name == "proxy", "only the proxy is reached from outside"
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_no_file_holds_a_secret() -> None:
    telling = re.compile(r"(?im)^[^#\n]*(?:password|secret|access_key\w*|token)[\"']?\s*[=:][ \t]*(\S+)")
    harmless = re.compile(r"\$.*|/.*|\[.*|\{.*|.*\.(?:pem|json)\b.*|false|embhub-registry(?:-tls)?")
    for path in FILES:
        text = path.read_text()
        assert not re.search(r"-----BEGIN|hf_emb_[A-Za-z0-9]{16}|AKIA[A-Z0-9]{12}|AGE-SECRET", text), path
        assert not re.search(r"://[^/\s:@]+:[^/\s@]+@", text), path
        for value in telling.findall(text):
            assert harmless.fullmatch(value), (path, value)
    example = (DEPLOY / "compose/registry.env.example").read_text()
    assert all(line.endswith("=") for line in example.splitlines() if line and not line.startswith("#"))
    ignored = (DEPLOY.parents[1] / ".gitignore").read_text().splitlines()
    assert "registry/deploy/compose/registry.env" in ignored, "the file with the secrets cannot be committed by mistake"


@pytest.mark.thorough
@pytest.mark.slow
def test_the_arguments_of_the_manifests_make_and_serve_a_registry(tmp_path: Path) -> None:
    """The program with the manifest's own words; only host, port and folder are others. Probes ask by address."""
    words = {name: spec["containers"][0]["args"] for name, spec in pods().items()}
    environment = {**servers.environment(), "EMBHUB_REGISTRY_DIR": str(tmp_path / "data")}
    made = subprocess.run(
        [sys.executable, "-m", "embhub_registry", *words["embhub-registry-init"], "--json"],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    port = servers.free_port()
    serve = [{PORT: str(port), "0.0.0.0": "127.0.0.1", "10": "0"}.get(word, word) for word in words["embhub-registry"]]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "embhub_registry", *serve], env=environment, stdout=subprocess.PIPE, stderr=log,
            text=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    running = RunningRegistry(tmp_path / "data", url, admin=json.loads(made.stdout)["token"], root_fingerprint="")
    try:
        servers.wait_until_ready(process, url, log=tmp_path / "log")
        (container,) = pods()["embhub-registry"]["containers"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe: Answer = running.get(container[name]["httpGet"]["path"], headers={"Host": f"10.42.0.7:{PORT}"})
            assert probe.status == 200, name
        at = {"Host": "hub.example.org", "X-Forwarded-For": "192.0.2.7"}
        assert running.get("/metrics", headers=at).status == 401
        assert running.get("/metrics", headers=at, token=running.admin).status == 200
        backup = pods()["embhub-registry-backup"]["containers"][0]
        script = " ".join(backup["args"]).replace(BACKUPS, str(tmp_path))
        script = script.replace("exec embhub-registry", f"exec {sys.executable} -m embhub_registry")
        subprocess.run([*backup["command"], script], env=environment, check=True, capture_output=True, timeout=60)
        (file,) = tmp_path.glob("*.tar")
        assert file.stat().st_mode & 0o777 == 0o600
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert process.stdout is not None
        process.stdout.close()


def test_old_backups_go_and_seven_stay(tmp_path: Path) -> None:
    """The unit's own command, in a folder of ours."""
    text = (DEPLOY / "systemd/embhub-registry-backup.service").read_text()
    (script,) = re.findall(r"(?m)^ExecStartPost=/bin/sh -c '(.*)'$", text)
    script = (
        script.replace("/var/backups/embhub-registry", shlex.quote(str(tmp_path))).replace("%%", "%").replace("$$", "$")
    )
    for day in range(60):
        file = tmp_path / f"day-{day:02d}.tar"
        file.touch()
        os.utime(file, (file.stat().st_mtime - day * 86_400,) * 2)
    (tmp_path / "another file").touch()
    subprocess.run(["/bin/sh", "-c", script], check=True)
    assert {p.name for p in tmp_path.iterdir()} == {"another file", *(f"day-{day:02d}.tar" for day in range(31))}
    for file in sorted(tmp_path.glob("day-*"))[:20]:
        file.unlink()
    for file in tmp_path.glob("day-*"):
        os.utime(file, (0, 0))
    subprocess.run(["/bin/sh", "-c", script], check=True)
    assert len(list(tmp_path.glob("*.tar"))) >= 6
