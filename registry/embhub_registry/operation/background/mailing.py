"""Mail by SMTP: plain text, over TLS, one message at a time."""

from __future__ import annotations

import smtplib
import socket
import ssl
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path

from embhub_registry.database import Connection
from embhub_registry.database.clock import now
from embhub_registry.storage import configuration, outgoing
from embhub_registry.storage.outgoing import SendingError

SECONDS = 15.0  # for one message: some servers greet late, to see who does not wait


@dataclass(frozen=True)
class Server:
    """The mail server as the operator set it up."""

    host: str
    port: int
    tls: str
    sender: str
    user: str
    password_file: str


def server_of(db: Connection) -> Server | None:
    """The mail server; None where mail is off."""
    word = {name: configuration.word(db, f"mail.{name}") for name in ("server", "tls", "from", "user", "password_file")}
    if not word["server"] or not word["from"]:
        return None
    host, _, port = word["server"].rpartition(":")
    return Server(host, int(port), word["tls"], word["from"], word["user"], word["password_file"])


def compose(server: Server, to: str, *, name: str, subject: str, lines: list[str], message_id: str) -> EmailMessage:
    """A message in plain text; a line break in a header raises ValueError.

    `message_id` is of the event: who gets a message twice sees one.
    """
    message = EmailMessage()
    message["From"] = Address(name, addr_spec=server.sender)
    message["To"] = Address(addr_spec=to)
    message["Subject"] = subject
    message["Date"] = format_datetime(now())
    message["Message-ID"] = make_msgid(message_id.replace("_", "."), domain=server.sender.partition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join(lines) + "\n")
    return message


def send(server: Server, message: EmailMessage, *, context: ssl.SSLContext | None = None) -> None:
    """Hand a message to the mail server.

    Args:
        server: Which.
        message: What.
        context: For TLS; the system's authorities by default.

    Raises:
        SendingError: it was not taken; `gone` where it never will be.
    """
    trusted = context or ssl.create_default_context()

    def hand_over(connected: socket.socket) -> None:
        try:
            secured = trusted.wrap_socket(connected, server_hostname=server.host) if server.tls == "tls" else connected
            with _Connection(server.host, server.port, secured) as connection:
                if server.tls == "starttls":
                    connection.starttls(context=trusted)
                if server.user:
                    connection.login(server.user, Path(server.password_file).read_text().strip())
                connection.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            permanent = all(code >= 500 for code, _ in error.recipients.values())
            raise SendingError("the mail server refuses the address", gone=permanent) from error
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise SendingError(f"the mail server did not take it: {type(error).__name__}") from error

    outgoing.connected("mail", server.host, server.port, hand_over, allowed=(server.host,), seconds=SECONDS)


class _Connection(smtplib.SMTP):
    """Over a socket that is connected already."""

    def __init__(self, host: str, port: int, connected: socket.socket) -> None:
        self._connected = connected
        super().__init__(host, port, timeout=SECONDS)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002
        return self._connected
