"""Keys that are no files of ours: in a real OpenSSH agent, and in a real PKCS #11 module (SoftHSM)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from embhub.__main__ import main
from embhub.client.publishing import push as publishing
from embhub.client.pulling import opening
from embhub.errors import ConfigError, UsageError
from embhub.site import config
from embhub.site.signing import keys, pkcs11_keys, signing_keys, ssh_agent
from embhub.site.signing.keys import PassphraseRequiredError
from embhub.trust import p256
from embhub_registry.cli import root as registry_command
from embhub_registry.operation import initialising
from embhub_registry.operation.keyrings import keyring_ceremony
from embhub_registry.operation.opening import open_folder
from tests.support import tools
from tests.support.sites import Site

MODULE = next((path for path in Path("/usr/lib").glob("**/libsofthsm2.so")), None)
PIN = "735281"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site", "https://hub.example.org").enter(monkeypatch)


@pytest.fixture
def agent(socket_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A running agent with an ECDSA P-256 key and an Ed25519 key; the fingerprint of the first."""
    tools.require("ssh-agent")
    address = socket_folder / "agent"
    running = subprocess.Popen(["ssh-agent", "-D", "-a", str(address)], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(address))
    try:
        while not address.exists():
            assert running.poll() is None
        for kind in ("ed25519", "ecdsa"):
            file = tmp_path / kind
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(file)], check=True)
            subprocess.run(["ssh-add", "-q", str(file)], check=True)
        said = subprocess.run(["ssh-keygen", "-l", "-f", str(tmp_path / "ecdsa")], capture_output=True, text=True)
        yield said.stdout.split()[1]
    finally:
        running.kill()
        running.wait()


def test_a_key_of_an_agent_signs_a_release(site: Site, agent: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "add-external", f"agent:{agent}"]) == 0
    assert agent in capsys.readouterr().out
    assert [key.fingerprint for key in keys.list_keys()] == [agent]
    path = site.make()
    signed = publishing.sign(path, repository="radboud/x")
    assert signed.fingerprint == agent
    assert opening.open_path(path).warnings == (), "its own key vouches for it"
    assert main(["key", "request", "radboud"]) == main(["key", "export"]) == 0
    with pytest.raises(ConfigError, match="exists already"):
        keys.generate("default")
    subprocess.run(["ssh-add", "-q", "-D"], check=True)
    with pytest.raises(ConfigError, match="the agent has no P-256 key"):
        publishing.sign(path, repository="radboud/x")


def test_what_the_agent_does_not_have(site: Site, agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="the agent has no P-256 key") as error:
        signing_keys.add_external("a", "agent:SHA256:x")
    assert agent in error.value.hint
    for address in ("", "/nonexistent/agent", "/" + "too-long" * 20):
        monkeypatch.setenv("SSH_AUTH_SOCK", address)
        with pytest.raises(ConfigError):
            signing_keys.add_external("a", f"agent:{agent}")
    assert keys.list_keys() == []
    assert main(["key", "add-external", "file:x"]) == 2


@given(answer=st.binary(max_size=200))
def test_an_agent_that_answers_nonsense(answer: bytes) -> None:
    """Whatever is at the other end of the socket: an error in words."""
    with pytest.raises(ConfigError), pytest.MonkeyPatch.context() as patch:
        folder = f"/tmp/embhub-agent-{os.getpid()}"
        Path(folder).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(folder)
            server.listen(1)

            def reply() -> None:
                caller, _ = server.accept()
                with caller:
                    caller.recv(4096)
                    caller.sendall(len(answer).to_bytes(4, "big") + answer)

            thread = threading.Thread(target=reply)
            thread.start()
            patch.setenv("SSH_AUTH_SOCK", folder)
            try:
                ssh_agent.find("SHA256:x", name="x")
            finally:
                thread.join()
                Path(folder).unlink()


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a P-256 key in a token of SoftHSM."""
    tools.require("softhsm2-util")
    pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    (tmp_path / "tokens").mkdir()
    conf = tmp_path / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(conf))
    words = ["--init-token", "--free", "--label", "hsm", "--so-pin", "12345678", "--pin", PIN]
    subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
    library = pkcs11.lib(str(MODULE))
    library.reinitialize()
    with library.get_token(token_label="hsm").open(user_pin=PIN, rw=True) as session:
        from pkcs11.util.ec import encode_named_curve_parameters

        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        parameters.generate_keypair(store=True, label="signing")
    return f"pkcs11:token=hsm;object=signing?module-path={MODULE}"


def test_a_key_in_a_token_signs_a_release(site: Site, token: str) -> None:
    with pytest.raises(PassphraseRequiredError, match="PIN"):
        signing_keys.add_external("hsm", token)
    with pytest.raises(ConfigError, match="PIN does not open"):
        signing_keys.add_external("hsm", token, pin="0000")
    key = signing_keys.add_external("hsm", token, pin=PIN)
    p256.verify(b"message", signature=key.sign(b"message"), key=p256.read_public(key.public_pem))
    path = site.make()
    asked: list[str] = []

    def give_pin(name: str) -> str:
        asked.append(name)
        return PIN

    signed = publishing.sign(path, repository="radboud/x", key="hsm", ask_passphrase=give_pin)
    assert signed.fingerprint == key.fingerprint and asked == ["hsm"]
    assert opening.open_path(path).warnings == ()
    kept = b"".join(file.read_bytes() for file in (site.folder / "home").rglob("*") if file.is_file())
    assert PIN.encode() not in kept and PIN not in repr(key), "the PIN is kept nowhere"
    with pytest.raises(ConfigError, match="cannot be used"):
        signing_keys.add_external("other", token.replace("signing", "nothing"), pin=PIN)


def propose(folder: Path, public_pem: str) -> Path:
    """A registry whose root is this key alone, and its first keyring, unsigned."""
    root = folder / "root.pub.pem"
    root.write_text(public_pem)
    initialising.initialise(
        folder / "hub", name="Test", url="https://hub.example.org", audit="optional", root_keys=[root], threshold=1
    )
    registry = open_folder(folder / "hub")
    try:
        keyring_ceremony.propose(registry, folder / "next.json")
    finally:
        registry.close()
    return folder / "next.json"


def test_a_root_key_in_an_agent_signs_a_keyring(site: Site, agent: str, tmp_path: Path) -> None:
    signing_keys.add_external("root-anna", f"agent:{agent}")
    file = propose(tmp_path, keys.public_pem("root-anna"))
    unsigned = file.read_bytes()
    here = config.paths().config / "keys/root-anna.pem"  # a name of `embhub key add-external`; there is no such file
    for place in (f"agent:{agent}", str(here)):
        file.write_bytes(unsigned)
        words = ["keyring", "sign", str(file), "--key", place, "--yes", "--json"]
        done = CliRunner().invoke(registry_command, words, input="none\n", catch_exceptions=False)
        assert json.loads(done.stdout)["signed_by"] == agent and json.loads(done.stdout)["missing"] == []
    registry = open_folder(tmp_path / "hub")
    try:
        assert keyring_ceremony.install(registry, [file])["keyring_version"] == 1
    finally:
        registry.close()
    for place in ("agent:SHA256:nobody", "pkcs11:token=x", "next.json"):
        with pytest.raises((ConfigError, UsageError)):
            keyring_ceremony.sign(
                file, place, reviewed=keyring_ceremony.review(file), passphrase=lambda: "no PIN helps"
            )


def test_a_root_key_in_a_token_signs_a_keyring(site: Site, token: str, tmp_path: Path) -> None:
    key = signing_keys.add_external("root-bert", token, pin=PIN)
    file = propose(tmp_path, key.public_pem)
    reviewed = keyring_ceremony.confirm(keyring_ceremony.review(file), "none")
    with pytest.raises(ConfigError, match="PIN does not open"):
        keyring_ceremony.sign(file, token, reviewed=reviewed, passphrase=lambda: "0000")
    signed = keyring_ceremony.sign(file, token, reviewed=reviewed, passphrase=lambda: PIN)
    assert signed["signed_by"] == key.fingerprint and signed["missing"] == [] and PIN.encode() not in file.read_bytes()


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=a", "pkcs11:token=a;object=b", "pkcs11:token=a;object=b?module-path=", "pkcs12:token=a;object=b",
        "pkcs11:token=a;object=b;id=%01?module-path=/x", "pkcs11:token=a;object=b?module-path=/x&pin-value=1234",
    ],
)  # fmt: skip
def test_uris_that_name_no_key(uri: str) -> None:
    with pytest.raises(UsageError):
        pkcs11_keys.parse(uri)


def test_a_uri_in_its_parts() -> None:
    place = pkcs11_keys.parse("pkcs11:object=my%20key;token=hsm?module-path=/usr/lib/x.so")
    assert (place.module, place.token, place.label) == ("/usr/lib/x.so", "hsm", "my key")
