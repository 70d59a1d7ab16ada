"""Who asks: a token stands for a tenant and a role. Here are tokens of a file; Keystone's are in `keystone`.

Roles, as the Images API had them: `observer` and `creator` read, `admin` also makes tasks.
"""

from __future__ import annotations

import hashlib
import secrets
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from vhdcheck.errors import UsageError
from vhdcheck.tasks.names import is_tenant

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

    @property
    def may_create(self) -> bool:
        """Whether the role allows to make tasks."""
        return self.role == "admin"


class Auth(Protocol):
    """Knows tokens."""

    async def caller(self, token: str) -> Caller | None:
        """Say whose token it is; None if it is nobody's.

        Raises:
            Unavailable: nobody can say at the moment.
        """


class StaticTokens:
    """Tokens that the operator gave; only their hashes are kept."""

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

    @classmethod
    def read(cls, path: Path) -> StaticTokens:
        """Read a file of TOML: `[[token]]` with `token` or `sha256`, `tenant`, and `role`.

        Raises:
            UsageError: it cannot be read, or says something else.
        """
        try:
            entries = tomllib.loads(path.read_text(encoding="utf-8"))["token"]
            return cls({_hash(entry): _caller(entry) for entry in entries})
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path}: not a list of [[token]] with token or sha256, tenant, role: {error}") from error

    @classmethod
    def first(cls, data: Path) -> tuple[StaticTokens, str | None]:
        """Make an administrator's token, once; its hash is kept in the folder of data.

        Returns:
            The tokens, and the new one, if it is new.
        """
        kept, token = data / _GENERATED, None
        if not kept.exists():
            token = secrets.token_urlsafe(24)
            kept.write_text(hashed(token) + "\n", encoding="ascii")
        return cls({kept.read_text(encoding="ascii").strip(): Caller(FIRST_TENANT, "admin")}), token


def hashed(token: str) -> str:
    """Hash a token: it is random and long, so no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _hash(entry: dict[str, Any]) -> str:
    if "sha256" in entry:
        return str(entry["sha256"]).lower()
    if not isinstance(entry["token"], str) or not entry["token"]:
        raise ValueError("a token is a string")
    return hashed(entry["token"])


def _caller(entry: dict[str, Any]) -> Caller:
    tenant, role = entry["tenant"], entry.get("role", "admin")
    if not isinstance(tenant, str) or not is_tenant(tenant):
        raise ValueError(f"tenant {tenant!r}: letters, digits, - and _ only, and quoted")
    if role not in ROLES:
        raise ValueError(f"role {role!r}: one of {', '.join(ROLES)}")
    return Caller(tenant, role)
