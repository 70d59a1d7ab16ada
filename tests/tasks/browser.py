"""A browser without a window, spoken to by its DevTools protocol over a pipe: no driver, no port."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any, Self

from tests.helpers import begun, ended, tail


class Browser:
    """Chromium with one page."""

    def __init__(self, flags: list[str], folder: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        self._log = folder / "chromium.log"
        shell = f'exec chromium "$@" 3<&{theirs_in} 4>&{theirs_out}'
        command = ["bash", "-c", shell, "chromium", "--remote-debugging-pipe", *flags, "about:blank"]
        self._process = begun(command, self._log, pass_fds=(theirs_in, theirs_out))
        os.close(theirs_in)
        os.close(theirs_out)
        self._count = 0
        self._buffer = b""
        self._session = ""
        self.complaints: list[str] = []
        """What the page logged, and what its policy forbade."""

    def __enter__(self) -> Self:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        ended(self._process, self._log)
        os.close(self._in)
        os.close(self._out)

    def look_like(self, width: int, scheme: str) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 700
        )
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)
        self.until(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})")

    def run(self, script: str) -> Any:
        answer = self._call("Runtime.evaluate", expression=script)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        end = time.monotonic() + 30
        while self.run(condition) is not True:
            assert time.monotonic() < end, self.run("document.documentElement.outerHTML")
            time.sleep(0.05)

    def choose(self, selector: str, files: list[str]) -> None:
        """Choose files in an input, as its dialogue does."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=files)

    def drop(self, files: list[str], x: int, y: int) -> None:
        """Drag files onto the page, and drop them there."""
        data = {"items": [], "files": files, "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self._call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def screenshot(self, path: str) -> None:
        answer = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, **parameters: object) -> Any:
        self._count += 1
        call = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._out, json.dumps(call).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                self.complaints.append(json.dumps(message["params"]))
            if message.get("id") == self._count:
                assert "error" not in message, message
                return message["result"]

    def _read(self) -> Any:
        while b"\0" not in self._buffer:
            piece = os.read(self._in, 1 << 16)
            assert piece, f"chromium is gone, and wrote:\n{tail(self._log)}"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
