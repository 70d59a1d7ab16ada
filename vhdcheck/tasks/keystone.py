"""Tokens that a Keystone has issued: it is asked whose they are, with credentials of the service's own.

Keystone's own middleware is made for WSGI. What is left to do beside keystoneauth1 is to remember answers, and to bound
how long and how much at a time is asked: a Keystone that hangs does not hang the service.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import to_thread
from cachetools import TLRUCache  # type: ignore[import-untyped, unused-ignore]
from keystoneauth1 import exceptions, loading, session

from vhdcheck.errors import UsageError
from vhdcheck.tasks.auth import ROLES, Caller, Unavailable, hashed
from vhdcheck.tasks.names import is_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

LOG: Final = logging.getLogger("vhdcheck.tasks")
TRUSTED: Final = 60.0
"""Seconds that Keystone's word on a valid token counts. A revoked one works that long, an expired one no more."""
DISTRUSTED: Final = 10.0
"""The same for a token that is nobody's."""
PATIENCE: Final = 10.0
"""Seconds that a request waits for Keystone."""
_AT_A_TIME: Final = 8
_REMEMBERED: Final = 10_000
_LONGEST: Final = 8192
"""Characters of a token. Keystone's own are about 200, or 1000 when signed."""
_ROLES: Final = {"manager": "admin", "member": "creator", "reader": "observer", **{role: role for role in ROLES}}
"""The roles that Keystone is set up with, and this API's own."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What Keystone said of a token."""

    caller: Caller | None
    lasts: float
    """Seconds."""


class Keystone:
    """Asks Keystone, in threads of its own."""

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        """Prepare a session; nothing is asked yet.

        Args:
            url: of Keystone, with or without `/v3`.
            environment: has the service's credentials, named as for every OpenStack client: `OS_USERNAME`,
                `OS_PASSWORD`, `OS_PROJECT_NAME`, ..., or those of another plugin of keystoneauth1 if `OS_AUTH_TYPE`
                names one, such as `v3applicationcredential`. `OS_CACERT` is a file of certificates to trust.

        Raises:
            UsageError: the credentials are incomplete.
        """
        base = url.rstrip("/").removesuffix("/v3") + "/v3"
        plugin = _plugin(base, environment)
        self._session = session.Session(auth=plugin, timeout=PATIENCE, verify=environment.get("OS_CACERT") or True)
        self._url = f"{base}/auth/tokens"
        self.challenge = f'Keystone uri="{base}"'
        self._known: MutableMapping[str, _Known] = TLRUCache(
            _REMEMBERED, lambda _key, known, moment: moment + known.lasts
        )
        self._lock = threading.Lock()
        self._limiter = anyio.CapacityLimiter(_AT_A_TIME)

    async def caller(self, token: str) -> Caller | None:
        """Say whose token it is; None if it is nobody's, has expired, was revoked or is for no project.

        Raises:
            Unavailable: Keystone does not say.
        """
        if len(token) > _LONGEST or not token.isascii() or not token.isprintable():
            return None
        known = self._recall(hashed(token))
        if known is None:
            try:
                with anyio.fail_after(PATIENCE):
                    known = await to_thread.run_sync(self._ask, token, limiter=self._limiter, abandon_on_cancel=True)
            except TimeoutError:
                raise Unavailable from None
        return known.caller

    def _recall(self, key: str) -> _Known | None:
        with self._lock:
            return self._known.get(key)

    def _ask(self, token: str) -> _Known:
        key = hashed(token)
        if (known := self._recall(key)) is not None:  # by now: many requests with one token may come at once
            return known
        try:
            answer = self._session.get(self._url, headers={"X-Subject-Token": token}, params={"nocatalog": "1"})
            known = _read(answer.json()["token"])
        except exceptions.NotFound:
            known = _Known(None, DISTRUSTED)
        except (exceptions.ClientException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            # A 401 or 403 is about the service's own credentials; what is not JSON comes from something in between.
            LOG.error("Keystone does not say whose token it is", extra={"reason": str(error)})  # noqa: TRY400 (no trace)
            raise Unavailable from error
        with self._lock:
            self._known[key] = known
        return known


def _plugin(url: str, environment: Mapping[str, str]) -> Any:  # keystoneauth1 has no types
    """Make what fetches the service's own token."""
    kind = environment.get("OS_AUTH_TYPE", "password")
    try:
        loader: Any = loading.get_plugin_loader("v3password" if kind == "password" else kind)
        names = [option.dest for option in loader.get_options() if option.dest != "auth_url"]
        given = {name: value for name in names if (value := environment.get(f"OS_{name.upper()}"))}
        if not given:
            raise UsageError("Keystone has to know this service: set OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME, ...")
        return loader.load_from_options(auth_url=url, **given)
    except exceptions.ClientException as error:
        raise UsageError(f"Keystone's credentials, from OS_USERNAME, OS_PASSWORD, ...: {error}") from error


def _read(token: dict[str, Any]) -> _Known:
    """Take project, strongest role and time from Keystone's answer."""
    left = (datetime.fromisoformat(token["expires_at"]) - datetime.now(UTC)).total_seconds()
    roles = [_ROLES[role["name"]] for role in token.get("roles", ()) if role["name"] in _ROLES]
    project = token.get("project", {}).get("id", "")
    known = roles and is_tenant(project) and left > 0
    caller = Caller(project, max(roles, key=ROLES.index), token.get("user", {}).get("id")) if known else None
    return _Known(caller, min(left, TRUSTED) if caller else DISTRUSTED)
