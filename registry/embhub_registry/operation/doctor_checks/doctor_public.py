"""What `doctor` finds at the registry's public address: who answers, certificate, clock, and what the proxy sends.

It asks as any site does. Nothing but these requests is sent, and no secret is in them.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from cryptography import x509

from embhub.errors import EmbhubError
from embhub.site.pins.transport import is_this_machine
from embhub.trust import keyring as keyrings
from embhub_registry.operation.doctor_checks.doctor_registry import apart
from embhub_registry.operation.facts.findings import Finding, Subject, failed, ok, warning, words
from embhub_registry.storage import outgoing
from embhub_registry.storage.outgoing import Answer, SendingError
from embhub_registry.wire.registry_api import seen_api

CERTIFICATE_ENDS = timedelta(days=14)  # as the alert has it
INVENTED = "192.0.2.77"  # RFC 5737: nobody's address, which a caller here only claims to have
_PURPOSE = "doctor"
ANSWERS = "start a server; look at the proxy, the firewall and the name server"
HEADERS = "the proxy has to send Host, X-Forwarded-For and X-Forwarded-Proto: docs/how-to/run-a-registry.md"


def address(subject: Subject) -> Iterator[Finding]:
    """Everything that can be seen from outside; what cannot is a warning."""
    url = subject.registry.setting("url")
    if urlsplit(url).scheme == "https":
        yield _tls(url, subject.now)
    elif not is_this_machine(urlsplit(url).hostname or ""):
        yield failed("tls", f"{url} has no TLS: tokens are sent in the clear", "put nginx or Caddy in front")
    trusting = _unverified() if urlsplit(url).scheme == "https" else None  # `tls` says what is wrong with it
    try:
        answer = _ask(f"{url}/embhub/v1/trust", trusting)
        seen = _ask(url + seen_api.PATH, trusting)
        claimed = _ask(url + seen_api.PATH, trusting, claims=INVENTED)
    except SendingError as error:
        yield failed("address", f"{url}: {error.reason}", ANSWERS)
        for name in ("address-clock", "proxy"):
            yield warning(name, "cannot be looked at: the public address does not answer", "mend that first")
        return
    yield _who(subject, url, answer)
    yield _clock(subject, answer)
    yield _proxy(url, seen, claimed)


def _ask(url: str, context: ssl.SSLContext | None, *, claims: str = "") -> Answer:
    """An answer. The operator chose the address, so it may be inside."""
    headers = {"X-Forwarded-For": claims} if claims else {}
    return outgoing.ask(
        _PURPOSE, url, allowed=(urlsplit(url).hostname or "",), headers=headers, context=context,
        most_bytes=keyrings.EXPORT_BYTES,
    )  # fmt: skip


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _tls(url: str, present: datetime) -> Finding:
    """Whether the chain is good for this machine's authorities, and how long the certificate lasts."""
    try:
        made, problem = _certificate(url, ssl.create_default_context()), ""
    except SendingError as error:
        if not isinstance(error.__cause__, ssl.SSLCertVerificationError):
            return warning("tls", f"cannot be looked at: {error.reason}", ANSWERS)
        problem = str(error.__cause__.verify_message)
        try:
            made = _certificate(url, _unverified())
        except SendingError as again:
            return failed("tls", f"{problem}; {again.reason}", "renew the certificate, and send its whole chain")
    left = made.not_valid_after_utc - present
    ended = left < timedelta()
    seen = f"the certificate {'ended' if ended else 'ends in'} {words(left)}{' ago' if ended else ''}"
    if problem or ended:
        said = f"{seen}; this machine does not accept it: {problem}" if problem else seen
        return failed("tls", said, "renew it, and send its whole chain; for an authority of your own set SSL_CERT_FILE")
    if left < CERTIFICATE_ENDS:
        return warning("tls", seen, "renew it")
    return ok("tls", f"{seen}, and its chain is good")


def _certificate(url: str, context: ssl.SSLContext) -> x509.Certificate:
    """The server's own certificate.

    Raises:
        SendingError: there is no connection, or `context` does not accept the certificate.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""

    def shake_hands(connected: socket.socket) -> bytes:
        with context.wrap_socket(connected, server_hostname=host) as secured:
            return secured.getpeercert(binary_form=True) or b""

    found = outgoing.connected(_PURPOSE, host, parts.port or 443, shake_hands, allowed=(host,))
    return x509.load_der_x509_certificate(found)


def _who(subject: Subject, url: str, answer: Answer) -> Finding:
    """Whether it is this registry that answers there."""
    if answer.status == 421:
        return failed("address", f"{url}: the server refuses the name in the Host header", HEADERS)
    if answer.status != 200:
        return failed("address", f"{url}: status {answer.status} instead of the trust document", ANSWERS)
    pinned = subject.registry.setting("root_fingerprint")
    try:
        trust = keyrings.open_export(keyrings.parse_export(answer.body), root_fingerprint=pinned)
    except (EmbhubError, ValueError) as error:
        return failed("address", f"{url}: another registry answers, or a broken one: {error}", "look at the proxy")
    return ok("address", f"{url} answers with version {trust.keyring.version} of the keyring")


def _clock(subject: Subject, answer: Answer) -> Finding:
    """This machine's clock against the `Date` of the answer, which has whole seconds (RFC 9110, section 6.6.1)."""
    try:
        there = parsedate_to_datetime(answer.date).astimezone(UTC)
    except (TypeError, ValueError):
        return warning("address-clock", "cannot be looked at: the answer has no Date", HEADERS)
    return apart("address-clock", subject.now - there, "that of the public address")


def _proxy(url: str, seen: Answer, claimed: Answer) -> Finding:
    """Whether the server sees the scheme and the client that were really there."""
    try:
        found, other = json.loads(seen.body), json.loads(claimed.body)
        scheme, client, forwarded, believed = found["scheme"], found["client"], found["forwarded"], other["client"]
    except (ValueError, TypeError, KeyError):
        reason = f"{seen_api.PATH} answers {seen.status}: an older server, or a proxy that answers itself"
        return warning("proxy", f"cannot be looked at: {reason}", "upgrade the server, or look at the proxy")
    if is_this_machine(urlsplit(url).hostname or "") and urlsplit(url).scheme == "http" and forwarded == "none":
        return ok("proxy", "there is none: the address is this machine's own")  # whose programs are believed
    if believed == INVENTED:
        said = "callers choose the address that the server sees, by X-Forwarded-For"
        return failed("proxy", said, "let the proxy replace that header by the caller's address")
    if urlsplit(url).scheme != "https" and forwarded == "none":
        return ok("proxy", f"there is none: the server sees {client}")
    if forwarded == "ignored":
        said = f"the server does not believe the proxy at {client}, and takes it for the caller"
        return failed("proxy", said, f"set FORWARDED_ALLOW_IPS={client} for the server")
    if forwarded == "none":
        return failed("proxy", f"no X-Forwarded-For arrives: the server takes {client} for every caller", HEADERS)
    if scheme != urlsplit(url).scheme:
        return failed("proxy", f"the server sees {scheme}, and its address begins with https", HEADERS)
    return ok("proxy", f"the server sees {scheme} and the caller's address, {client}")
