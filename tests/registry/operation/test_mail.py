"""Mail over a real SMTP server on loopback: TLS, headers that nobody can add to, and who gets which."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import UsageError
from embhub_registry.database.clock import now
from embhub_registry.database.logs import outbox
from embhub_registry.database.logs.outbox import Event
from embhub_registry.operation.background import deliveries, mailing
from embhub_registry.operation.background.mailing import Server
from embhub_registry.people import auth, notifications
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.outgoing import SendingError
from tests.support.people import Person
from tests.support.quick import quick
from tests.support.servers import RunningRegistry, free_port, init_registry

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it is TLS from the start
SERVER = Server("127.0.0.1", 25, "none", "hub@example.org", "", "")


class Box:
    """What the server took; `answer` is what it says to a recipient."""

    def __init__(self) -> None:
        self.got: list[EmailMessage] = []
        self.secured: list[bool] = []
        self.answer = ""

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        envelope.rcpt_tos.append(address)
        return self.answer or "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:
        self.got.append(message_from_bytes(envelope.content, policy=policy.default))
        self.secured.append(server.transport.get_extra_info("sslcontext") is not None)
        return "250 OK"


@pytest.fixture
def box() -> Iterator[tuple[Box, int]]:
    made = Box()
    controller = Controller(made, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield made, controller.port
    controller.stop()


@pytest.fixture
def running(tmp_path: Path, box: tuple[Box, int]) -> RunningRegistry:
    made = init_registry(tmp_path)
    for name, namespace, role in (
        ("alice", "radboud", "publisher"),
        ("rob", "radboud", "reader"),
        ("lea", "lumc", "reader"),
    ):
        made.add_user(name, namespace=namespace, role=role)
        made.run("user", "mail", name, f"{name}@example.org")
    for name, value in (("server", f"127.0.0.1:{box[1]}"), ("from", "hub@example.org"), ("tls", "none")):
        made.run("setting", "set", f"mail.{name}", value)
    return made


@pytest.fixture
def registry(running: RunningRegistry) -> Iterator[Registry]:
    with running.opened() as opened:
        yield opened


def emit(registry: Registry, kind: str, *, user: str | None = None, **fields: Any) -> None:
    with registry.database.writing() as db:
        row = db.execute("SELECT id FROM user WHERE name = ?", (user,)).fetchone()
        told = {"namespace": "radboud", "repository": "radboud/x", **fields}
        notifications.emit(db, kind, user_id=row[0] if row else None, **told)


def test_a_request_goes_to_who_may_answer_it_and_the_answer_to_who_asked(
    registry: Registry, box: tuple[Box, int]
) -> None:
    emit(registry, "access.requested", status="pending")
    deliveries.run(registry)
    assert [message["To"] for message in box[0].got] == ["alice@example.org"], "rob is a reader"
    emit(registry, "access.decided", user="lea", status="rejected")
    deliveries.run(registry)
    message = box[0].got[1]
    assert message["To"] == "lea@example.org" and message["Subject"] == "Test hub: access to radboud/x: rejected"
    assert message.get_content_type() == "text/plain" and message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    assert "/account/access" in text and "reason" not in text.lower()
    assert outbox.count_waiting(registry.database.connection()) == 0


def test_people_choose_what_they_get_mail_of(
    running: RunningRegistry, registry: Registry, box: tuple[Box, int]
) -> None:
    emit(registry, "release.published", version="1.0.0")
    deliveries.run(registry)
    assert box[0].got == [], "requests and answers alone, where nobody chose"
    with running.opened() as opened:
        row = opened.database.connection().execute("SELECT id FROM user WHERE name = 'rob'").fetchone()
        rob = auth.find_account(opened.database.connection(), row[0])
        assert rob
        notifications.choose_mail(opened, rob, ["release.published"])
    emit(registry, "release.published", version="1.0.1", private=True)
    deliveries.run(registry)
    assert [(m["To"], m["Subject"]) for m in box[0].got] == [
        ("rob@example.org", "Test hub: version 1.0.1 of radboud/x is published")
    ]
    emit(registry, "release.published", version="1.0.2")
    running.run("user", "mail", "rob")
    deliveries.run(registry)
    assert len(box[0].got) == 1


def test_the_page_saves_a_choice(running: RunningRegistry) -> None:
    running.start()
    try:
        alice = Person(running)
        alice.use_link("alice")
        page = alice.open("/account/notifications")
        assert "alice@example.org" in page and page.count(" checked") == 4
        chosen: dict[str, Any] = {"key.changed": "yes"}
        alice.press("/account/notifications/mail", **chosen)
        assert 'name="key.changed" value="yes" checked' in alice.page and alice.page.count(" checked") == 1
        assert "Webhooks are off" in alice.page
    finally:
        running.stop()


@pytest.mark.parametrize(
    "address",
    quick(
        ["a@b\r\nBcc: c@d", "a@b.de, c@d.de"],
        thorough=["a b@c.de", "@c.de", "a@", "<a@b.de>", "ä@b.de", "a@b..de"],
    ),
)
def test_no_address_of_one_person(running: RunningRegistry, address: str) -> None:
    with running.opened() as opened, pytest.raises(UsageError):
        notifications.set_address(opened, "alice", address)


@given(st.text(max_size=60), st.text(max_size=60))
def test_nothing_that_is_told_becomes_a_header(name: str, told: str) -> None:
    hostile = f"{told}\r\nBcc: evil@example.org\r\n\r\nbody"
    event = Event(
        "evt_1", "access.requested", "radboud", "radboud/x", False, "2026", {"user": hostile, "repository": told}
    )
    subject = notifications.subject_of(event)
    lines = deliveries.lines(event, url="https://hub.example.org")
    assert "\n" not in subject and "\r" not in subject
    try:
        message = mailing.compose(SERVER, "a@example.org", name=name, subject=subject, lines=lines, message_id="evt_1")
    except ValueError:
        return  # it is not sent
    parsed = message_from_bytes(message.as_bytes(policy=policy.SMTP), policy=policy.default)
    assert parsed["Bcc"] is None and parsed["To"] == "a@example.org" and not parsed.is_multipart()
    assert {key.lower() for key in parsed} <= {
        "from", "to", "subject", "date", "message-id", "auto-submitted", "content-type", "content-transfer-encoding",
        "mime-version",
    }  # fmt: skip


def test_a_name_with_a_line_break_is_not_sent() -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        mailing.compose(SERVER, "a@example.org", name="x\r\nBcc: y", subject="s", lines=[], message_id="evt_1")
    with pytest.raises(ValueError, match=r"[a-z]"):
        mailing.compose(SERVER, "a@example.org", name="x", subject="s\r\nBcc: y@z", lines=[], message_id="evt_1")


def test_an_address_that_is_refused_for_good_is_given_up(registry: Registry, box: tuple[Box, int]) -> None:
    box[0].answer = "550 no such user"
    emit(registry, "access.decided", user="lea", status="accepted")
    deliveries.run(registry)
    assert outbox.count_waiting(registry.database.connection()) == 0
    box[0].answer = "451 later"
    emit(registry, "access.decided", user="lea", status="accepted")
    deliveries.run(registry)
    assert outbox.count_waiting(registry.database.connection()) == 1
    box[0].answer = ""
    deliveries.run(registry, clock=lambda: now() + timedelta(minutes=1))
    assert len(box[0].got) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_mail_goes_over_tls_and_to_nobody_with_another_certificate(certificate: Path, tmp_path: Path, tls: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    box = Box()

    def check(_server: SMTP, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"hub", b"secret"), handled=False)

    options: dict[str, Any] = {"tls_context": context, "require_starttls": True} if tls == "starttls" else {}
    controller = Controller(
        box, hostname="localhost", port=free_port(), authenticator=check, auth_required=True,
        auth_require_tls=tls == "starttls", ssl_context=context if tls == "tls" else None, **options,
    )  # fmt: skip
    controller.start()
    try:
        password = tmp_path / "password"
        password.write_text("secret\n")
        server = Server("localhost", controller.port, tls, "hub@example.org", "hub", str(password))
        message = mailing.compose(server, "a@example.org", name="Hub", subject="s", lines=["x"], message_id="evt_1")
        trusted = ssl.create_default_context(cafile=str(certificate))
        mailing.send(server, message, context=trusted)
        assert box.secured == [True] and box.got[0].get_content().strip() == "x"
        with pytest.raises(SendingError):
            mailing.send(server, message)
        password.write_text("another")
        with pytest.raises(SendingError, match="did not take it: SMTPAuthenticationError"):
            mailing.send(server, message, context=trusted)
        assert len(box.got) == 1
    finally:
        controller.stop()


def test_a_server_without_starttls_gets_nothing(box: tuple[Box, int]) -> None:
    server = Server("127.0.0.1", box[1], "starttls", "hub@example.org", "", "")
    message = mailing.compose(server, "a@example.org", name="Hub", subject="s", lines=["x"], message_id="evt_1")
    with pytest.raises(SendingError, match="SMTPNotSupportedError"):
        mailing.send(server, message)
    assert box[0].got == []
