"""What is secret in a name or a text: users, passwords, tokens and signatures, and how it is left out.

Two ways, because a text may be ours or a stranger's:

- `redacted` shows a name that somebody gave. It takes the name apart and leaves out what may be secret: user, password,
  query and fragment of a URL. People also give what is nearly a URL (in quotes, with one slash, behind `zip::`), and
  that reaches the same messages, so a URL is looked for anywhere in the name.
- `masked` shows a text of a driver, a server or a library. The secrets are known there, and are looked for in each
  form that they travel in: as they are, with and without percent signs, and as the base64 of a header.

A secret of three characters or less is masked where it stands by itself only: a user called `a` must not turn each
`a` of a message into stars.
"""

from __future__ import annotations

import re
from functools import lru_cache

TYPE_CHECKING = False  # typing takes 3 of the 35 ms that --help has (tests/cost holds it)
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Final

STARS: Final = "***"
SHORT: Final = 3
"""Characters of a secret that is masked as a word only."""
DEPTH: Final = 8
"""URLs within URLs that are taken apart."""
_BEGIN: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]{1,40}:[/\\]{2,}|\b(?:https?|s3a?|abfss?|az|adl|gcs|gs|s?ftp|dask|swift)(?:\+\w+)?:[/\\]+",
    re.ASCII | re.IGNORECASE,
)
"""Of a URL. Path objects leave one of two slashes, and so do people. What is repeated here and below has a bound, so
that no text takes a time that grows with its square."""
_CHAIN: Final = re.compile(r"::(?=[A-Za-z][\w+.-]*:[/\\])", re.ASCII)
_SIGNED: Final = re.compile(
    r"[?&;](?=[^?&;=]{0,64}(?:sig|token|key|secret|passw|pwd|credential|auth|session)[^?&;=]{0,64}=)",
    re.ASCII | re.IGNORECASE,
)
"""What stands before a parameter that may be secret, where no scheme says that it is a URL."""
_SECRET: Final = re.compile("key|secret|token|passw|sas|credential|connection|auth|_user", re.IGNORECASE)
"""In the name of a variable of the environment that may hold a secret."""
_HOST: Final = re.compile(r"(\[[^]]*\]|[^:]*)(:\d*|:PORT)?")
_WORD: Final = re.compile(r"[^\s'\"<>]+")
"""What may be a URL in a text."""
_END: Final = ":;,.)"
"""Marks behind it."""
_CONTAINER: Final = re.compile(r"abfss?://[^:@]*@[^:@]+", re.IGNORECASE)
"""Azure's way to write container and account: nobody logs in with the first of these."""
_RUN: Final = re.compile(r"\S+")
_OPAQUE: Final = re.compile(r"[\w+/.~%-]{16,}", re.ASCII)
_LONG: Final = re.compile(r"[\w+/.~%-]{40,}", re.ASCII)
"""What may be a key, a token or a signature that a driver had or made: beside letters and digits, or no word at all."""


def redacted(name: str) -> str:
    """Leave out what may be secret of a URL: user and password, query, fragment. Other names stay as they are.

    Examples:
        >>> redacted("https://me:secret@example.org/a.vhd?sig=abc")
        'https://***@example.org/a.vhd?***'
    """
    if ":" not in name and "?" not in name:  # nearly all
        return name
    return _parted(name)[0]


def hidden(name: str) -> list[str]:
    """List what `redacted` leaves out: users, passwords, values of parameters."""
    return [part for part in _parted(name)[1] if part not in ("", STARS)]


def without_urls(text: str, given: Iterable[str] = ()) -> str:
    """Redact the URLs in a text of ours, such as an error that quotes an argument.

    Args:
        text: the text.
        given: arguments that it may quote, which may have blanks in their passwords.
    """
    secrets: list[str] = []
    for argument in given:
        shown = redacted(argument)
        if shown != argument:
            text = text.replace(argument, shown)
            secrets += hidden(argument)
    text = masked(text, secrets)
    return _WORD.sub(_shown, text) if "?" in text or _BEGIN.search(text) else text


def _shown(word: re.Match[str]) -> str:
    name = word[0].rstrip(_END)
    return redacted(name) + word[0][len(name) :]


def masked(text: str, secrets: Iterable[str]) -> str:
    """Put stars where a text has a secret, in any form that secrets travel in."""
    known = tuple(secrets)
    return _pattern(known).sub(STARS, text) if known else text


def plain_words(text: str, secrets: Iterable[str]) -> str:
    """Keep of a stranger's text what is words: no secret, and nothing that looks like a key, a token or a signature.

    Returns:
        The text; nothing at all if it holds a URL or `name=value`, which may quote a request.
    """
    text = masked(text, secrets)
    return "" if "://" in text or "=" in text else without_keys(text)


def without_keys(text: str) -> str:
    """Leave out what looks like a key, a token or a signature."""
    return _RUN.sub(_without_keys, text)


def _without_keys(run: re.Match[str]) -> str:
    has_both = any(char.isdecimal() for char in run[0]) and any(char.isalpha() for char in run[0])
    return (_OPAQUE if has_both else _LONG).sub(STARS, run[0])


def in_environment(environment: Mapping[str, str]) -> list[str]:
    """List the values of variables whose names say that they are secret."""
    return [value for name, value in environment.items() if _SECRET.search(name)]


def values(given: object) -> Iterator[str]:
    """List the texts in options, whatever they lie in; of a connection string each value, of a URL what is secret."""
    if isinstance(given, bytes):
        given = given.decode("latin-1")
    if isinstance(given, str):
        if _BEGIN.match(given):
            yield from hidden(given)
            return
        yield given
        yield from (part.partition("=")[2] for part in given.split(";") if "=" in part)
    elif isinstance(given, dict):
        for value in given.values():
            yield from values(value)
    elif isinstance(given, (list, tuple, set, frozenset)):
        for value in given:
            yield from values(value)


def _parted(name: str, depth: int = 0) -> tuple[str, list[str]]:
    """Return a name without its secrets, and these. What lies in too many URLs is secret as a whole."""
    if depth > DEPTH:
        return STARS, [name]
    begin = _BEGIN.search(name)
    if begin is None:
        path, mark, query = name.partition("?")
        return (f"{path}?{STARS}", _parameters(query)) if _SIGNED.search(mark + query) else (name, [])
    if chained := _CHAIN.search(name):  # fsspec's way to write a file within a file
        first, second = _parted(name[: chained.start()], depth + 1), _parted(name[chained.end() :], depth + 1)
        return f"{first[0]}::{second[0]}", [*first[1], *second[1]]
    scheme, rest = name[: begin.end()], name[begin.end() :]
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    who, _, own = host.rpartition("@")
    if _CONTAINER.fullmatch(scheme + host):
        who = ""
    elif _HOST.fullmatch(own) or who == STARS:
        host = own
    else:  # half of a password that has a "/", "?" or "#"
        who, mark, behind = rest.rpartition("@")
        shown, secrets = _parted(f"{scheme}{STARS}@{behind}" if mark else f"{scheme}{STARS}@", depth + 1)
        return shown, [*_login(who if mark else rest), *secrets]
    secrets = _login(who)
    inner, more = _parted(path, depth + 1)  # of archives of the web, the URL of a page
    cut = _SIGNED.search(inner)
    if cut:
        inner, more = inner[: cut.end()] + STARS, [*more, *_parameters(inner[cut.end() :])]
    query = rest[len(place) :]
    shown = f"{scheme}{STARS + '@' if who else ''}{host}{slash}{inner}" + (f"{query[0]}{STARS}" if query else "")
    return shown, [*secrets, *more, *_parameters(query[1:])]


def _login(who: str) -> list[str]:
    """List the secrets of `user:password`."""
    if not who:
        return []
    user, mark, password = who.partition(":")
    return [user, password, who] if mark else [user]


def _parameters(query: str) -> list[str]:
    """List the values of a query or fragment, without their names; all of it where it has no names."""
    parts = re.split(r"[?&;#]", query)
    return [query, *(part.partition("=")[2] or part for part in parts)] if query else []


@lru_cache(maxsize=4)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    """Match any of the secrets, the longest first."""
    forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
    words = [re.escape(form) if len(form) > SHORT else rf"(?<!\w){re.escape(form)}(?!\w)" for form in forms]
    return re.compile("|".join(words) or "(?!)", re.IGNORECASE)


def _forms(secret: str) -> Iterator[str]:
    from base64 import b64encode, urlsafe_b64encode  # only where something failed
    from urllib.parse import quote, quote_plus, unquote, unquote_plus

    known = dict.fromkeys([secret, unquote(secret), unquote_plus(secret)])
    for form in known:
        raw = form.encode("utf-8", "surrogateescape")
        yield from filter(None, (form, quote(raw, safe=""), quote(raw), quote_plus(raw)))
        if ":" in form:  # a login, which a header has in base64
            yield from (encode(raw).decode().rstrip("=") for encode in (b64encode, urlsafe_b64encode))
