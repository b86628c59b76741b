"""What the database knows of stored objects, apart from the repositories that hold them."""

from __future__ import annotations

from embhub_registry.database.connection import Connection
from embhub_registry.database.releases.repositories import HELD


def forget_unused(db: Connection, digest: str) -> bool:
    """Drop a blob's row where no commit and no proposal holds it; True where its file may go too, listed or not."""
    if db.execute(HELD, (digest,)).fetchone() is not None:
        return False
    db.execute("DELETE FROM blob WHERE digest = ?", (digest,))
    return True


def sizes(db: Connection) -> dict[str, int]:
    """Digest and size in bytes of every object that the database names."""
    return {row[0]: row[1] for row in db.execute("SELECT digest, size FROM blob ORDER BY digest")}
