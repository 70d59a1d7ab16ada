"""A Swift: its proxy, account, container and object servers, with one disk, and memcached for its tokens."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ADMIN = {"ST_USER": "admin:admin", "ST_KEY": "admin"}
TESTER = {"ST_USER": "test:tester", "ST_KEY": "testing"}
_STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = root
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
log_address = {folder}/no-syslog
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
_PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = root
swift_dir = {folder}
log_address = {folder}/no-syslog
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats tempurl tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_admin_admin = admin .admin .reseller_admin
user_test_tester = testing .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:slo]
use = egg:swift#slo
min_segment_size = 1
""" + "\n".join(
    f"[filter:{name}]\nuse = egg:swift#{name}"
    for name in ("catch_errors", "gatekeeper", "listing_formats", "tempurl", "copy", "dlo")
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def swift(folder: Path) -> Iterator[str]:
    """Run it in a folder; yield its URL."""
    pytest.importorskip("swift", reason="swift is not installed")
    pytest.importorskip("swiftclient", reason="python-swiftclient is not installed (extra swift)")
    memcached = shutil.which("memcached")
    if memcached is None:
        pytest.skip("memcached is not installed (Debian: memcached)")
    programs = Path(sys.executable).parent
    (folder / "devices" / "sdb1").mkdir(parents=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = x\nswift_hash_path_prefix = y\n")
    ports = {kind: free_port() for kind in ("account", "container", "object", "memcached", "proxy")}
    for kind in ("account", "container", "object"):
        builder = [programs / "swift-ring-builder", folder / f"{kind}.builder"]
        device = f"r1z1-127.0.0.1:{ports[kind]}/sdb1"
        for step in (("create", "2", "1", "0"), ("add", device, "1"), ("rebalance",)):
            subprocess.run([*builder, *step], check=True, capture_output=True)
        (folder / f"{kind}.conf").write_text(_STORAGE.format(kind=kind, port=ports[kind], folder=folder))
    proxy = _PROXY.format(port=ports["proxy"], memcached=ports["memcached"], folder=folder)
    (folder / "proxy.conf").write_text(proxy)
    kinds = ("account", "container", "object", "proxy")
    commands: list[list[str | Path]] = [[memcached, "-u", "nobody", "-l", "127.0.0.1", "-p", str(ports["memcached"])]]
    commands += [[programs / f"swift-{kind}-server", folder / f"{kind}.conf", "-v"] for kind in kinds]
    environment = {"SWIFT_DIR": str(folder), "PATH": os.environ["PATH"]}
    with ExitStack() as stack:
        for command in commands:
            log = stack.enter_context((folder / f"{Path(command[0]).name}.log").open("wb"))
            server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            stack.callback(server.wait)
            stack.callback(server.kill)
        url = f"http://127.0.0.1:{ports['proxy']}"
        end = time.monotonic() + 60
        while True:
            try:
                token(url, TESTER)
                break
            except URLError:
                assert time.monotonic() < end, "Swift does not start"
                time.sleep(0.1)
        yield url


def token(url: str, who: dict[str, str]) -> str:
    headers = {"X-Auth-User": who["ST_USER"], "X-Auth-Key": who["ST_KEY"]}
    with urlopen(Request(f"{url}/auth/v1.0", headers=headers)) as answer:  # noqa: S310 (of this machine)
        return str(answer.headers["X-Auth-Token"])
