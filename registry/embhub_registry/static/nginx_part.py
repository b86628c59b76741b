"""The part of an nginx configuration with which clients of the Hugging Face Hub read an export.

They need the header `X-Repo-Commit` with each file, and an answer for branches and versions. No plain file has one.
Nor is a file under `raw` and `blob` too, or the newest commit under `HEAD`: each would have to be written twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from embhub_registry.static import items
from embhub_registry.static.items import Item
from embhub_registry.static.layout import INDEX, Shelf

PATH = "embhub/v1/nginx.conf"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_LINE = re.compile(
    r"location \^~ (?P<place>/[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*/resolve/)"
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._/+-]*)/ .* (?P=place)(?P<commit>[0-9a-f]{40})/\$1 redirect; \}\n"
)
_HEAD = """# Include this in the server block whose root is the folder of the export; reload nginx after each export.
absolute_redirect off;
default_type application/octet-stream;
rewrite "^(/(?!api/)[^/]+/[^/]+)/(?:raw|blob)/(.+)$" $1/resolve/$2;
rewrite "^(/[^/]+/[^/]+/resolve)/HEAD/(.+)$" $1/main/$2;
rewrite "^(/api/models/[^/]+/[^/]+/(?:revision|tree|commits))/HEAD$" $1/main;
location ^~ /api/ { default_type application/json; types { } try_files $uri $uri/INDEX =404; }
location ^~ /embhub/ { default_type application/json; types { } }
location ^~ /log/ { default_type application/octet-stream; types { } }
location ~ "^/[^/]+/[^/]+/resolve/(?<embhub_commit>[0-9a-f]{40})/." {
    default_type application/octet-stream;
    types { text/markdown md; application/json json; image/png png; }
    add_header X-Repo-Commit $embhub_commit;
    add_header X-Content-Type-Options nosniff;
    add_header Content-Security-Policy "default-src 'none'; sandbox";
}
"""


def write(shelves: Iterable[Shelf]) -> Item:
    """The part for these repositories: their branches, tags and versions lead to commits."""
    lines = [_HEAD.replace("INDEX", INDEX)]
    for shelf in sorted(shelves, key=lambda shelf: shelf.repository.full_name):
        stolen = {row["revision"] for row in shelf.yanked if row["by"] == "key-stolen"}
        for name, commit in sorted(shelf.names.items()):
            place = f"/{shelf.repository.full_name}/resolve/"
            if _SAFE.fullmatch(name) and commit not in stolen:
                lines.append(_redirect(place, name, commit))
    return items.of_bytes(PATH, "".join(lines).encode(), stage=items.LISTS)


def is_written_here(data: bytes) -> bool:
    """Whether `write` makes these bytes of some repositories: nothing else gets into a web server's configuration."""
    head = _HEAD.replace("INDEX", INDEX)
    text = data.decode("ascii", "replace")
    if not text.startswith(head):
        return False
    lines = text[len(head) :].splitlines(keepends=True)
    if len({line.partition("{")[0] for line in lines}) < len(lines):
        return False  # nginx does not start with one place named twice
    for line in lines:
        read = _LINE.match(line)
        if read is None or line != _redirect(read["place"], read["name"], read["commit"]):
            return False
    return True


def _redirect(place: str, name: str, commit: str) -> str:
    where = re.escape(place + name)
    return f'location ^~ {place}{name}/ {{ rewrite "^{where}/(.*)$" {place}{commit}/$1 redirect; }}\n'
