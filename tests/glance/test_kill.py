"""A Glance that is killed within an import: what is left, and what a restart does. Glance's own ways, as documented."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import MIB, dynamic

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.glance.server import Glance

pytestmark = pytest.mark.slow


def test_a_killed_import(make: Callable[..., Glance]) -> None:
    data = dynamic(256 * MIB, blocks=range(128)).tobytes()  # it takes long enough to be stored
    with make() as glance:
        image = glance.staged_image(data)
        glance.begin(image)
        end = time.monotonic() + 60
        while f"image {image}: accepted" not in glance.log:
            assert time.monotonic() < end, glance.log
            time.sleep(0.01)
        glance.kill()
        assert glance.staged == [image]
        assert (glance.folder / "staging" / image).read_bytes() == data

        glance.start()
        assert (glance.task(image)["status"], glance.image(image)["status"]) == ("processing", "importing")
        assert glance.staged == [image], "it takes nothing up again, and cleans nothing up"
        glance.begin(image, status=409)
        glance.ask("DELETE", f"/v2/images/{image}", status=204)
        assert glance.staged == []
        assert glance.imported(dynamic(10 * MIB, blocks=[0]).tobytes())[1]["status"] == "active"
