"""Images that are mended where they are while qemu has them open: its locks, beside the system's leases."""

from __future__ import annotations

import fcntl
import shutil
import socket
import struct
import subprocess
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import MIB, dynamic
from tests.mend.driver import old
from tests.mend.test_in_place import correct, image, names, replace
from vhdcheck import SourceError
from vhdcheck.mend import holding

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["image"]  # a fixture

pytestmark = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="no leases: nothing is mended in place")

FLOCK = "hhqqi4x"


def greeted(server: subprocess.Popen[bytes], path: Path) -> None:
    """Wait until a server speaks: its socket is there before it has opened the image."""
    while True:
        assert server.poll() is None
        with socket.socket(socket.AF_UNIX) as client, suppress(FileNotFoundError, ConnectionRefusedError):
            client.settimeout(60)
            client.connect(str(path))
            assert client.recv(8) == b"NBDMAGIC"
            return
        time.sleep(0.01)


@pytest.mark.parametrize("mode", ["r+b", "rb"])
def test_qemu_at_work(mode: str, tmp_path: Path) -> None:
    """It has a lock on each image, and keeps others' writers away by it; readers of it disturb nobody."""
    if shutil.which("qemu-nbd") is None:
        pytest.skip("qemu-nbd is not installed")
    image = dynamic(10 * MIB).write(tmp_path / "in.vhd")
    before, place = image.read_bytes(), tmp_path / "socket"
    options = ["-r"] if mode == "rb" else []
    with subprocess.Popen(["qemu-nbd", "-t", *options, "-f", "vpc", "-k", place, image]) as server:
        try:
            greeted(server, place)
            with image.open("rb") as file:  # what is said where there are locks, and no leases
                told = nullcontext() if mode == "rb" else pytest.raises(SourceError, match="qemu has the image open")
                with told:
                    holding._lock(file.fileno(), "in.vhd", uses=(0,))
            if mode == "r+b":
                with pytest.raises(SourceError, match="open for writing"):
                    replace(image)
                assert image.read_bytes() == before
            else:
                replace(image)
        finally:
            server.kill()


@pytest.mark.parametrize("way", [correct, replace])
def test_qemu_on_another_machine(way: object, image: Path, tmp_path: Path) -> None:
    """No lease shows it; its lock does: it writes to the image (byte 101)."""
    with image.open("rb") as theirs:
        fcntl.fcntl(theirs, fcntl.F_OFD_SETLK, struct.pack(FLOCK, fcntl.F_RDLCK, 0, 101, 1, 0))
        with pytest.raises(SourceError, match="qemu has the image open"):
            way(image)  # type: ignore[operator]
    assert (image.read_bytes(), names(tmp_path)) == (old(), {"in.vhd"})


def test_qemu_that_comes_meanwhile(tmp_path: Path) -> None:
    """It sees the locks that it would take itself."""
    if shutil.which("qemu-io") is None:
        pytest.skip("qemu-io is not installed")
    image = dynamic(10 * MIB).write(tmp_path / "in.vhd")
    for uses, mode, command, status in (
        ((0,), "rb", ["-c", "write 0 512"], 1),
        ((0,), "rb", ["-r", "-c", "read 0 512"], 0),
        ((0, 1, 3), "r+b", ["-r", "-c", "read 0 512"], 1),
    ):
        with image.open(mode) as file:
            holding._lock(file.fileno(), "in.vhd", uses=uses)
            done = subprocess.run(
                ["qemu-io", "-f", "vpc", *command, image], capture_output=True, text=True, check=False, timeout=60
            )
        assert (done.returncode, "lock" in done.stderr) == (status, bool(status)), done.stderr
