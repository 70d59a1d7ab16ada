"""README's upload proxy runs."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from fixtures.writer import GIB, MIB, dynamic

README = Path(__file__).parents[2] / "vhdcheck" / "engine" / "README.md"


class Store:
    def __init__(self) -> None:
        self.stored = b""

    def put(self, file: io.RawIOBase) -> None:
        while chunk := file.read(1000):
            self.stored += chunk


def test_the_upload_proxy() -> None:
    text = README.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(from vhdcheck import ImageRefused.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 (README's own code)
    good, bad = dynamic(10 * MIB, blocks=[0]).tobytes(), dynamic(41 * GIB).tobytes()
    store = Store()
    assert names["receive"](io.BytesIO(good), store) == (201, 10 * MIB)
    assert store.stored == good
    store = Store()
    status, message = names["receive"](io.BytesIO(bad), store)
    assert (status, message[:4]) == (422, "413:")
    assert len(store.stored) <= 2048
