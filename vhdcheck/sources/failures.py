"""What failed on the way to an object, told for people: in words of ours, or in a stranger's that hold no secret."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.redaction import hidden, in_environment, plain_words, values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMEOUT: Final = 30.0
"""Seconds that one answer may take; of a download, each piece."""
CHANGED: Final = "the object changed while it was checked"
_FAILED: Final = 500
"""From here on it is the server's fault."""
_AIOHTTP: Final = {
    "TooManyRedirects": "the server redirects in a circle, or more than ten times",
    "InvalidUrlRedirectClientError": "the server redirects to what is no URL",
    "NonHttpUrlRedirectClientError": "the server redirects to an address of another kind than http:// and https://",
    "ClientConnectorCertificateError": "the server's certificate is not trusted",
    "ClientConnectorSSLError": "the server does not speak TLS as it should; it may want http://",
    "InvalidURL": "not a URL that a server can be asked for",
    "ServerDisconnectedError": "the server closes the connection without an answer",
    "ClientPayloadError": "the server's answer breaks off, or is malformed",
    "ClientResponseError": "the server's answer is malformed: no valid HTTP",
}
"""What failures of aiohttp mean that carry no status of the server's, although some claim 0 or 400."""
_UNREACHED: Final = {
    "EndpointConnectionError": "cannot connect to the store",
    "ServiceRequestError": "cannot connect to the store",
    "ConnectTimeoutError": "the store does not answer",
    "ReadTimeoutError": "the store does not answer",
    "ServiceResponseError": "the store's answer breaks off",
}
"""Failures of the clients of S3 and Azure whose texts are mostly a URL."""
_STATUS: Final = {
    401: "the server asks for credentials, or does not accept these",
    403: "access denied; of a signed URL: it may have expired",
    404: "not found",
    410: "not there any more",
    412: CHANGED,
    416: "the server says that these bytes are not in the object",
    429: "too many requests",
}


class Told(Exception):  # a sentence, not a kind of error
    """A failure, told for people, free of secrets; `again` if another try may succeed."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


def reason(error: Exception, *, quote: bool, secrets: Sequence[str] = ()) -> str:
    """Tell a failure.

    Args:
        error: whatever a driver raised.
        quote: whether to quote the words of its text. A client of HTTP may quote half a URL.
        secrets: what must not be quoted. What a driver computed of them, such as signatures, is left out too.
    """
    if isinstance(error, Told):
        return str(error)
    known = [each.__name__ for each in type(error).__mro__ if each.__name__ in _AIOHTTP]
    if not quote and (known or isinstance(error, ValueError)):
        return _AIOHTTP[known[0] if known else "InvalidURL"]
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:g} seconds"
    if isinstance(error, FileNotFoundError):
        return _STATUS[404]
    if isinstance(error, PermissionError):
        return "access denied"
    status = getattr(error, "status_code", None) or getattr(error, "status", None)
    if isinstance(status, int):
        return of_status(status)
    if re.search("pre-?condition", str(error), re.IGNORECASE):  # s3fs tells a 412 by S3's words alone
        return CHANGED
    cause = getattr(error, "os_error", error)
    kind = type(error).__name__
    if isinstance(cause, OSError) and cause.strerror and quote is False:
        return f"{cause.strerror} ({kind})"
    if unreached := [each.__name__ for each in type(error).__mro__ if each.__name__ in _UNREACHED]:
        return f"{_UNREACHED[unreached[0]]} ({kind})"
    text = plain_words(str(error).partition("\n")[0], secrets)[:200] if quote else ""
    return f"{text or 'the driver failed'} ({kind})"


def of_status(status: int) -> str:
    """Say what a status of HTTP means."""
    words = _STATUS.get(status) or ("the server failed" if status >= _FAILED else "the server refuses")
    return f"{words} (HTTP {status})"


def secrets_in(url: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """List what no text may contain: of the URL, of the options, and of where drivers find credentials themselves."""
    conf: Any = {}
    with suppress(ImportError):  # the service may do without
        from fsspec import config  # type: ignore[import-not-found, import-untyped, unused-ignore]

        conf = config.conf
    found = values([dict(options), conf, in_environment(os.environ)])
    return tuple(dict.fromkeys(filter(None, [*hidden(url), *found])))
