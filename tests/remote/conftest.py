"""Servers of this machine, started for the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.remote.server import Listener, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[Server]:
    """An HTTP server of this test's own."""
    ours = Server()
    with Listener(ours) as listener:
        listener.thread.start()
        yield ours
        listener.shutdown()
        listener.thread.join()
