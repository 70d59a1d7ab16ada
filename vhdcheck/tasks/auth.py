"""Who asks: a token stands for a tenant and a role. Here are tokens of a file; Keystone's are in `keystone`.

Roles, as the Images API had them: `observer` and `creator` read, `admin` also makes tasks.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vhdcheck.errors import UsageError
from vhdcheck.tasks import configure
from vhdcheck.tasks.settings import matching

if TYPE_CHECKING:
    from pathlib import Path

ROLES: Final = ("observer", "creator", "admin")
FIRST_TENANT: Final = "default"
_GENERATED: Final = "first-token.sha256"


class Unavailable(Exception):  # an answer to the client
    """Nobody can say at the moment whose token it is."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    tenant: str
    role: str
    user: str | None = None

    @property
    def may_create(self) -> bool:
        """Whether the role allows to make tasks."""
        return self.role == "admin"


class Auth(Protocol):
    """Knows tokens."""

    challenge: str
    """What a request without a valid token is told in `WWW-Authenticate`."""

    async def caller(self, token: str) -> Caller | None:
        """Say whose token it is; None if it is nobody's.

        Raises:
            Unavailable: nobody can say at the moment.
        """


class _Token(BaseModel):
    """One `[[token]]`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tenant: Annotated[str, matching(r"[A-Za-z0-9_-]{1,64}", "1 to 64 of letters, digits, - and _")]
    token: str | None = Field(None, min_length=1)
    sha256: Annotated[str, matching(r"[0-9a-fA-F]{64}", "64 hexadecimal digits")] | None = None
    role: Literal["observer", "creator", "admin"] = "observer"
    user: str | None = Field(None, min_length=1, max_length=255)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.token is None) == (self.sha256 is None):
            raise ValueError("a [[token]] has either token or sha256")
        return self

    @property
    def key(self) -> str:
        """The hash that it is looked up by."""
        return self.sha256.lower() if self.sha256 is not None else hashed(self.token or "")


class _File(BaseModel):
    """A file of tokens."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[list[_Token], Field(min_length=1)]


class StaticTokens:
    """Tokens that the operator gave; only their hashes are kept."""

    challenge = 'Token realm="image tasks"'

    def __init__(self, callers: dict[str, Caller]) -> None:
        """Take the callers by the SHA-256 of their token, in hexadecimal."""
        self._callers = callers

    @property
    def tenants(self) -> set[str]:
        """All tenants."""
        return {caller.tenant for caller in self._callers.values()}

    async def caller(self, token: str) -> Caller | None:
        """Look a token up. By its hash: how long that takes tells nothing of any token."""
        return self._callers.get(hashed(token))

    def replace(self, other: StaticTokens) -> None:
        """Know another's tokens from now on, and these no more."""
        self._callers = other._callers

    @classmethod
    def read(cls, path: Path) -> StaticTokens:
        """Read a file of TOML: `[[token]]` with `token` or `sha256`, `tenant`, and perhaps `role` and `user`.

        Raises:
            UsageError: it cannot be read, or says something else.
        """
        document, content = configure.read(path, _File)
        callers: dict[str, Caller] = {}
        for number, each in enumerate(content.token):
            if each.key in callers:
                name = "sha256" if each.token is None else "token"
                raise UsageError(f"{document.place(('token', number, name))}: stands for two callers")
            callers[each.key] = Caller(each.tenant, each.role, each.user)
        return cls(callers)

    @classmethod
    def first(cls, data: Path) -> tuple[StaticTokens, str | None]:
        """Make an administrator's token, once; its hash is kept in the folder of data.

        Returns:
            The tokens, and the new one, if it is new.
        """
        kept, token = data / _GENERATED, None
        if not kept.exists():
            token = secrets.token_urlsafe(24)
            with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(hashed(token) + "\n")
        return cls({kept.read_text(encoding="ascii").strip(): Caller(FIRST_TENANT, "admin")}), token


def hashed(token: str) -> str:
    """Hash a token: it is random and long, so no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
