"""What an operator copies: unit, proxies, container file, alerts, as far as they can be tried here."""

from __future__ import annotations

import configparser
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import click
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from embhub_registry.cli import root
from embhub_registry.database.clock import now
from embhub_registry.operation import metrics
from tests.support.servers import RunningRegistry, free_port, start_registry

DEPLOY = Path(__file__).parents[3] / "registry/deploy"
UNIT = (DEPLOY / "embhub-registry.service").read_text()
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def unit() -> configparser.SectionProxy:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # configparser's own way to keep capitals
    parsed.read_string(UNIT)
    return parsed["Service"]


def options_of(words: list[str]) -> None:
    """Fail where a command line names an option that does not exist."""
    command = root.get_command(click.Context(root), "serve")
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known | {"--dir"}


def test_the_unit_runs_the_program_as_nobody_special() -> None:
    service = unit()
    words = service["ExecStart"].split()
    assert words[0] == "/opt/embhub/bin/embhub-registry" and "serve" in words
    options_of(words)
    grace = sum(float(words[words.index(option) + 1]) for option in ("--drain-seconds", "--grace-seconds"))
    assert float(service["TimeoutStopSec"]) > grace + 10, "systemd waits longer than the registry does"
    assert service["User"] not in ("", "root") and service["StateDirectory"] in words[words.index("--dir") + 1]
    for name, value in (("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("CapabilityBoundingSet", "")):
        assert service[name] == value


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    file = tmp_path / "embhub-registry.service"
    file.write_text(UNIT.replace("/opt/embhub/bin/embhub-registry", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "embhub-registry.service:" not in done.stderr, done.stderr
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-300:]


def test_the_container_is_not_root_and_says_how_it_is() -> None:
    lines = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text()).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
    final = steps[max(n for n, step in enumerate(steps) if step[0] == "FROM") :]
    said = {step[0]: step[1] for step in final}
    assert said["USER"].isdigit() and said["USER"] != "0" and "readyz" in said["HEALTHCHECK"]
    assert said["STOPSIGNAL"] == "SIGTERM" and "data" in said["VOLUME"]
    options_of(re.findall(r'"([^"]+)"', said["CMD"]))
    for step in steps:
        if step[0] == "COPY" and not step[1].startswith("--from"):
            assert all((DEPLOY.parents[1] / source).exists() for source in step[1].split()[:-1])
        assert step[0] != "FROM" or ("latest" not in step[1] and ":" in step[1])


def test_alerts_speak_of_metrics_that_exist() -> None:
    rules = [rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    known = {f"embhub_{name}" for name in metrics.TOTALS}
    known |= {"embhub_requests_total", "embhub_failed_logins_total", "embhub_disk_free_bytes", "embhub_refusals_total"}
    for rule in rules:
        assert set(re.findall(r"\bembhub_[a-z_]+", rule["expr"])) <= known, rule["alert"]
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert all(f'job="{job["job_name"]}"' in rule["expr"] for rule in rules if "up{" in rule["expr"])


@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed")
def test_caddy_takes_its_file() -> None:
    words = ["caddy", "validate", "--adapter", "caddyfile", "--config", DEPLOY / "Caddyfile"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


@pytest.fixture
def behind_nginx(tmp_path: Path) -> Iterator[tuple[RunningRegistry, int, Path]]:
    """A registry behind nginx with our own file, with a certificate of this test; ports and paths are replaced."""
    certificate(tmp_path)
    served, port = start_registry(tmp_path), free_port()
    text = (DEPLOY / "nginx.conf").read_text()
    for before, after in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("127.0.0.1:8642", served.url.removeprefix("http://")),
        ("/etc/ssl/embhub-registry", str(tmp_path)),
    ):
        assert before in text
        text = text.replace(before, after)
    text = re.sub(r"(?m)^.*\[::\].*\n", "", text)
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;"
        f" fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n{text}}}\n"
    )
    words = [str(NGINX), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    checked = subprocess.run([*words, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    proxy = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        yield served, port, tmp_path / "fullchain.pem"
    finally:
        proxy.terminate()
        proxy.wait(timeout=20)
        served.stop()


def certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub.example.org")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hub.example.org")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "privkey.pem").write_bytes(private)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_behind_nginx(behind_nginx: tuple[RunningRegistry, int, Path]) -> None:
    served, port, chain = behind_nginx
    context = ssl.create_default_context(cafile=str(chain))

    def get(path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        line = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
        line.sock = context.wrap_socket(  # the certificate is of the public name
            socket.create_connection(("127.0.0.1", port)), server_hostname="hub.example.org"
        )
        line.request("GET", path, headers={"Host": "hub.example.org", **headers})
        answer = line.getresponse()
        body = answer.read()
        line.close()
        return answer.status, answer.headers, body

    deadline = time.monotonic() + 20
    while True:
        try:
            status, headers, _ = get("/healthz")
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert status == 200 and "max-age" in headers["Strict-Transport-Security"]
    assert get("/metrics")[0] == 404, "monitoring is not for the world"
    token = served.add_user("alice", namespace="radboud")
    body = {"name": "one", "type": "model"}
    assert served.request("POST", "/api/repos/create", token=token, json_body=body).status == 200
    tag = {"tag": "a/b"}
    made = served.request("POST", "/api/models/radboud/one/tag/main", token=token, json_body=tag)
    assert made.status == 200, made.body
    assert get("/api/models/radboud/one/revision/a%2Fb")[0] == 200, "an encoded slash arrives as one"
    status, headers, _ = get("/api/models?limit=0")
    assert status == 400
    get("/api/whoami-v2", Authorization="Bearer emb_wrong", **{"X-Forwarded-For": "203.0.113.9"})
    time.sleep(0.5)
    assert '"client": "127.0.0.1"' in served.log.read_text() and "203.0.113.9" not in served.log.read_text(), (
        "the proxy says who calls, the caller does not"
    )
