"""A person in a browser without JavaScript: cookies, forms as pages hold them, and the headers that browsers send."""

from __future__ import annotations

import html
import re
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pyotp

from tests.support.servers import Answer, RunningRegistry

SESSION = "__Host-embhub-session"
DEVICE = "__Host-embhub-device"


@dataclass
class Person:
    """Somebody's browser at one registry; it keeps cookies and knows the page that it shows."""

    registry: RunningRegistry
    cookies: dict[str, str] = field(default_factory=dict)
    page: str = ""
    path: str = "/"
    totp: str = ""

    def open(self, path: str, *, status: int = 200) -> str:
        """Look at a page; redirects are followed."""
        return self._show(self._send("GET", path), path, status)

    def press(
        self, action: str, *, status: int = 200, headers: dict[str, str] | None = None, **fields: str
    ) -> str:  # fmt: skip
        """Send the form of the page that goes to `action`, with these fields in it."""
        return self._show(self.send(action, headers=headers, **fields), action, status)

    def send(self, action: str, *, headers: dict[str, str] | None = None, **fields: str) -> Answer:
        """The same, and the answer as it came."""
        return self._send("POST", action, {**self.form(action), **fields}, headers)

    def form(self, action: str) -> dict[str, str]:
        """The hidden fields of the page's form that goes to `action`."""
        for tag, inside in re.findall(r"<form([^>]*)>(.*?)</form>", self.page, re.S):
            if html.unescape(re.search(r'action="([^"]*)"', tag)[1]) == action:  # type: ignore[index]
                found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', inside)
                return {name: html.unescape(value) for name, value in found}
        raise AssertionError(f"no form goes to {action}: {self.page}")

    def use_link(self, user: str) -> None:
        """Log in by a link of the operator's."""
        link = self.registry.ask("user", "login-link", user)["link"]
        path = link.removeprefix(self.registry.url)
        self.open(path)
        self.press(path)

    def set_up_app(self) -> list[str]:
        """Set up TOTP; returns the recovery codes."""
        self.open("/account/login")
        self.press("/account/login/totp")
        shown = re.search(r"type this key into the app: <code>([A-Z2-7 ]+)</code>", self.page)
        assert shown
        self.totp = shown[1].replace(" ", "")
        self.press("/account/login/totp/answer", code=self.code())
        return re.findall(r"\b[a-z2-9]{4}(?:-[a-z2-9]{4}){3}\b", self.page)

    def code(self, *, later: int = 0) -> str:
        """What the app shows now, or `later` steps of 30 seconds."""
        return pyotp.TOTP(self.totp).at(int(time.time()) + 30 * later)

    def log_in(self, user: str, code: str, *, status: int = 200) -> str:
        """Fill in the login form."""
        self.open("/login")
        return self.press("/login/code", name=user, code=code, status=status)

    def text(self) -> str:
        """The page's words."""
        words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", self.page)).split())
        return re.sub(r" ([:.,])", r"\1", words)

    def _send(
        self, method: str, path: str, fields: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        sent = {"Accept": "text/html", "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        body = None
        if fields is not None:
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.registry.url}
            sent |= {"Sec-Fetch-Site": "same-origin"}
            body = urlencode(fields).encode()
        sent |= headers or {}
        answer = self.registry.request(method, path, headers={k: v for k, v in sent.items() if v}, body=body)
        return self._keep(answer)

    def _keep(self, answer: Answer) -> Answer:
        for line in answer.cookies:
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0]
            assert name.startswith("__Host-") and {"Secure", "HttpOnly", "Path=/"} <= set(rest.split("; ")), line
            if "Max-Age=0" in rest:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer

    def _show(self, answer: Answer, path: str, status: int) -> str:
        if answer.status == 303:
            return self.open(str(answer.header("location")), status=status)
        assert answer.status == status, (answer.status, answer.body.decode()[:3000])
        self.page, self.path = answer.body.decode(), path
        return self.page
