"""Which sources are URLs, and how a URL may be shown."""

from __future__ import annotations

import re
from typing import Final, TypeGuard

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://", re.ASCII)


def is_url(source: object) -> TypeGuard[str]:
    """Say whether a source is a URL: a scheme of two characters at least (one is a drive of Windows), and `://`."""
    return isinstance(source, str) and _URL.match(source) is not None


def redacted(name: str) -> str:
    """Leave out what may be secret of a URL: user and password, query, fragment. Other names stay as they are.

    Examples:
        >>> redacted("https://me:secret@example.org/a.vhd?sig=abc")
        'https://***@example.org/a.vhd?***'
    """
    if not is_url(name):
        return name
    scheme, _, rest = name.partition("://")
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    if "@" in host:
        host = "***@" + host.rpartition("@")[2]
    elif not re.fullmatch(r"(\[[^]]*\]|[^:]*)(:\d*)?", host):  # half of a password that has a "/", "?" or "#"
        behind = rest.rpartition("@")[2] if "@" in rest else ""
        return redacted(f"{scheme}://***@{behind}")
    return f"{scheme}://{host}{slash}{path}" + (f"{rest[len(place)]}***" if place != rest else "")
