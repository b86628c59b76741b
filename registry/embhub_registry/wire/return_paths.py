"""Where a person goes on after a login: a page of this registry, and none elsewhere."""

from __future__ import annotations

from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request

HOME = "/account"
LOGIN = "/login"
MAX_PATH = 1000  # characters; with a login's secret they fit into a cookie


def local_path(text: str, *, otherwise: str) -> str:
    """`text` where it is a page of this registry, so that no link sends a person elsewhere after a login (CWE-601).

    Browsers read a backslash as a slash, leave out tabs and line ends, and resolve `.` and `..`, encoded or not (WHATWG
    URL Standard): a path with any of these, or with an empty segment, is not accepted.

    Args:
        text: What the address or the form says, by whoever wrote it.
        otherwise: Where to go in place of a text that is not accepted.

    Returns:
        A path with its query, printable ASCII, at most 1,000 characters.
    """
    path = text.partition("?")[0]
    dots = {".", ".."} & set(path.lower().replace("%2e", ".").split("/"))
    if dots or "//" in path or "\\" in text or not path.startswith("/") or not text.isprintable():
        return otherwise
    found = quote(text, safe="/?=&%+-._~@:,")
    return found if len(found) <= MAX_PATH else otherwise


def login_address(request: Request) -> str:
    """The login page's address, which leads back to the page that is shown, or to what `remember` was told."""
    back = getattr(request.state, "login_back", "")
    path = request.url.path
    if not back and request.method in ("GET", "HEAD") and path != LOGIN and not path.startswith(LOGIN + "/"):
        query = f"?{request.url.query}" if request.url.query else ""
        back = local_path(quote(path) + query, otherwise="")
    return f"{LOGIN}?{urlencode({'next': back})}" if back else LOGIN


def same_address(request: Request) -> str:
    """Where a page that could not be shown is asked for again; of a form its page."""
    if request.method not in ("GET", "HEAD"):
        return form_page(request)
    query = f"?{request.url.query}" if request.url.query else ""
    return local_path(quote(request.url.path) + query, otherwise="/")


def form_page(request: Request) -> str:
    """The page of this registry whose form was sent, as the browser says in `Referer`; empty where it is not known."""
    try:
        said = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return ""
    if request.method != "POST" or not said.netloc or said.netloc != request.headers.get("host"):
        return ""
    return local_path(f"{said.path}?{said.query}" if said.query else said.path, otherwise="")


def remember(request: Request, text: str) -> str:
    """What `local_path` makes of `text`, or HOME; a login page that this request shows leads there, too."""
    back = local_path(text, otherwise=HOME)
    request.state.login_back = back
    return back
