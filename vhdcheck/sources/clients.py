"""The clients of stores: one for a process and an account, which all checks share.

A new client costs 150 ms of processor time and new connections; a check of a small image costs 10 ms.

All clients live in fsspec's loop, in the thread that fsspec keeps for it. So nothing here needs a lock, and no client
is ever used in the loop of a caller, which may end at any time. A forked process has another loop, and so its own
clients. Those of its parent it leaves alone, because their connections are the parent's.

A client is shared by who gives the same options in the same environment. After `LIFETIME` seconds a new one takes its
place, because keys may have been renewed in a file; the old one is closed when nobody uses it any more.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LIFETIME: Final = 60.0
"""Seconds that new users are given the same client: making one takes a quarter of a percent of that."""
CLOSE: Final = 10.0
"""Seconds that closing may take. It tells nothing, so nobody waits longer for a server."""
SHARED: Final = frozenset({"s3", "s3a", "az", "abfs", "abfss", "adl", "gs", "gcs"})
"""Schemes whose drivers keep nothing of one object that another would see, and whose clients are dear."""
_AZURE: Final = frozenset({"az", "abfs", "abfss", "adl"})


@dataclass(slots=True, eq=False)
class Client:
    """A file system of fsspec, and who uses it."""

    files: Any
    wanted: tuple[Any, ...]
    """What it was made for: driver, options, environment."""
    loop: asyncio.AbstractEventLoop
    is_shared: bool
    born: float = field(default_factory=time.monotonic)
    users: int = 1

    @property
    def is_young(self) -> bool:
        """Whether it may be given to new users."""
        return time.monotonic() - self.born < LIFETIME

    async def release(self) -> None:
        """Take leave of it; the last one closes it, if nobody may come after him."""
        self.users -= 1
        if self.users == 0 and not (self.is_shared and self.is_young):
            await self.close()

    async def close(self) -> None:
        """Close its connections."""
        with suppress(ValueError):  # it is not shared
            _CLIENTS.remove(self)
        for name in ("_s3", "service_client", "_session"):
            session: Any = getattr(self.files, name, None)
            if hasattr(session, "close"):
                await session.close()
                return


_CLIENTS: Final[list[Client]] = []
"""Those that are shared."""
CONNECTORS: Final[list[Any]] = []  # of aiohttp.TCPConnector
"""The connections of HTTP, of each loop."""
_LEFT: Final[list[Any]] = []
"""What a forked process has of its parent."""


def _leave_alone() -> None:
    """Keep what a forked process has of its parent to its end.

    A connection that is collected takes itself out of its loop's selector. A fork shares that with the parent: there
    it is one `epoll` for both. The parent would no longer hear of answers, and wait in vain for 30 seconds.
    """
    _LEFT.extend((*_CLIENTS, *CONNECTORS))
    _CLIENTS.clear()
    CONNECTORS.clear()


if hasattr(os, "register_at_fork"):  # which keeps this module, and with it the list, to the very end
    os.register_at_fork(after_in_child=_leave_alone)


async def client(driver: Any, url: str, given: Mapping[str, Any]) -> Client:
    """Find the client for a URL and options, or make it, in the running loop; whoever asks for it releases it.

    Args:
        driver: fsspec's class.
        url: with its scheme in small letters.
        given: arguments for the driver.
    """
    scheme = url.partition("://")[0]
    options = {**driver._get_kwargs_from_urls(url), **given}
    loop = asyncio.get_running_loop()
    if scheme not in SHARED:
        return Client(_file_system(driver, scheme, options), (), loop, is_shared=False)
    wanted = (driver, options, repr(options), dict(os.environ))
    for known in [each for each in _CLIENTS if each.loop is loop]:
        if known.is_young:
            if known.wanted == wanted:
                known.users += 1
                return known
        elif known.users == 0:
            with suppress(Exception):
                await known.close()
    # A listing that is kept would hide what changes.
    made = Client(_file_system(driver, scheme, {"use_listings_cache": False, **options}), wanted, loop, is_shared=True)
    _CLIENTS.append(made)
    return made


def _file_system(driver: Any, scheme: str, options: Mapping[str, Any]) -> Any:
    """Make a file system of our own: fsspec would share it with whoever uses the same options."""
    options = {**options, "skip_instance_cache": True}
    # adlfs would close its client, which is closed already, at the exit of Python, in a loop that it then has not.
    if driver.async_impl and scheme not in _AZURE:
        options |= {"asynchronous": True, "loop": asyncio.get_running_loop()}
    return driver(**options)


@atexit.register
def _close_all() -> None:
    """Close what is shared, or Python's end complains of it."""
    for each in [*_CLIENTS, *CONNECTORS]:
        loop = each.loop if isinstance(each, Client) else each._loop
        if loop.is_running():
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(_closed(each), loop).result(CLOSE)


async def _closed(each: Any) -> None:  # Client | aiohttp.TCPConnector
    await each.close()
