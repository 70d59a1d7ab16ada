"""Sessions of browsers, in the database: whichever server is asked knows them, also after a restart.

A browser's cookie is a key. The database holds the cookie's hash and the token, encrypted with that key, so neither a
copy of the database nor its backup tells a token, and no cookie can be made from it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken

from vhdcheck.tasks.tables import SESSIONS

if TYPE_CHECKING:
    from vhdcheck.tasks.database import Database

LASTS: Final = 8 * 3600
"""Seconds that a browser stays signed in."""
MOST: Final = 1000
"""Sessions that are kept; beyond that the oldest end."""


class Sessions:
    """The sessions of all servers on a database."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database

    def begin(self, token: str) -> str:
        """Keep a token, and return the cookie that gets it back."""
        key = Fernet.generate_key()
        cookie = key.decode().rstrip("=")
        now = self._database.now
        newest = sa.select(SESSIONS.c.id).order_by(SESSIONS.c.expires_at.desc()).limit(MOST - 1)
        values = {
            "id": _id(cookie),
            "token": Fernet(key).encrypt(token.encode()),
            "expires_at": now + LASTS * 1_000_000,
        }
        with self._database.writing.begin() as connection:
            connection.execute(SESSIONS.delete().where(SESSIONS.c.expires_at <= now))
            connection.execute(SESSIONS.delete().where(SESSIONS.c.id.not_in(newest)))
            connection.execute(SESSIONS.insert().values(values))
        return cookie

    def token(self, cookie: str) -> str | None:
        """Find the token of a session that has not ended."""
        own = sa.and_(SESSIONS.c.id == _id(cookie), SESSIONS.c.expires_at > self._database.now)
        with self._database.reading.connect() as connection:
            kept = connection.execute(sa.select(SESSIONS.c.token).where(own)).scalar()
        if kept is None:
            return None
        try:
            return Fernet(cookie + "=").decrypt(kept).decode()
        except (InvalidToken, ValueError):  # somebody has changed the row
            return None

    def end(self, cookie: str) -> None:
        """Forget a session."""
        with self._database.writing.begin() as connection:
            connection.execute(SESSIONS.delete().where(SESSIONS.c.id == _id(cookie)))


def _id(cookie: str) -> str:
    return hashlib.sha256(b"session " + cookie.encode("utf-8", "surrogatepass")).hexdigest()
