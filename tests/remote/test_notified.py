"""The programs of .github/STORES.md, as they are printed: an object comes, and soon the verdict stands at it."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from fixtures.writer import GIB, KIB, MIB, dynamic, fixed
from tests.remote.recorder import Recorder
from tests.remote.stores import AZURE_LOGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeVar

    from tests.remote.stores import Azurite, Served

    T = TypeVar("T")

pytestmark = pytest.mark.slow

END = 4 * KIB
ODD = "a folder/disk ü+1 of 2.vhd"
APART = dynamic(40 * GIB, blocks=range(3), slack=END).tobytes()
"""Its last 4 KiB are no guest's."""
CLOSE = dynamic(40 * GIB, blocks=range(3)).tobytes()
"""Its last block ends at the footer."""
TOO_LARGE = dynamic(41 * GIB).tobytes()


@pytest.fixture(scope="module")
def recipes(root: Path) -> dict[str, str]:
    text = (root / ".github" / "STORES.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^<!-- run: (\S+) -->\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


@contextmanager
def running(program: str, folder: Path, **environment: str) -> Iterator[Callable[[], str]]:
    """Run a program without an end; yield what tells what it printed."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    with (folder / "printed").open("wb") as out:
        words = [sys.executable, "-W", "ignore", "program.py"]
        process = subprocess.Popen(words, cwd=folder, env={**os.environ, **environment}, stdout=out, stderr=out)
    try:
        yield lambda: (folder / "printed").read_text("utf-8")
        assert process.poll() is None, (folder / "printed").read_text("utf-8")
    finally:
        process.kill()
        process.wait()


def until(happens: Callable[[], T], printed: Callable[[], str]) -> T:
    """Wait for a value that is true, and return it."""
    end = time.monotonic() + 60
    while not (value := happens()):
        assert time.monotonic() < end, printed()
        time.sleep(0.1)
    return value


def guest_data(image: bytes) -> list[tuple[int, int]]:
    """Return where blocks of 2 MiB hold the guest's data, by the table, which lies at 1536."""
    (entries,) = struct.unpack_from(">I", image, 512 + 28)
    table = struct.unpack_from(f">{entries}I", image, 1536)
    return [(at * 512 + 512, at * 512 + 512 + 2 * MIB) for at in table if at != 0xFFFF_FFFF]


def shared(ranges: list[tuple[int, int]], others: list[tuple[int, int]]) -> int:
    """Count the bytes that are in both."""
    return sum(max(0, min(end, last) - max(begin, first)) for begin, end in ranges for first, last in others)


def is_metadata_alone(recorder: Recorder, path: str, image: bytes) -> bool:
    """Whether no byte of a guest was read of an object, but for those next to the footer."""
    ranges = recorder.ranges(path)
    near_footer = [(len(image) - END, len(image))]
    of_guest = shared(ranges, guest_data(image))
    return bool(ranges) and of_guest == shared(near_footer, guest_data(image)) and len(guest_data(image)) == 3


def test_guest_data_is_what_blocks_hold() -> None:
    assert shared([(len(APART) - END, len(APART))], guest_data(APART)) == 0
    assert shared([(len(CLOSE) - END, len(CLOSE))], guest_data(CLOSE)) == END - 512
    assert shared([(0, 128 * KIB)], guest_data(CLOSE)) == 128 * KIB - guest_data(CLOSE)[0][0] > 0


def test_a_tag_in_s3(s3: Served, recipes: dict[str, str], tmp_path: Path) -> None:
    boto3 = pytest.importorskip("boto3")
    endpoint = s3.options["endpoint_url"]
    login = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_DEFAULT_REGION": "us-east-1"}
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "hunter2", "region_name": "us-east-1"}
    sqs, store = (boto3.client(name, endpoint_url=endpoint, **keys) for name in ("sqs", "s3"))
    queue = sqs.create_queue(QueueName="uploads")["QueueUrl"]
    store.create_bucket(Bucket="uploads")
    store.put_bucket_notification_configuration(
        Bucket="uploads", NotificationConfiguration=json.loads(recipes["s3-notification.json"])
    )

    def tags(key: str) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in store.get_object_tagging(Bucket="uploads", Key=key)["TagSet"]}

    with Recorder(endpoint) as recorder:
        here = recorder.url + urlsplit(queue).path
        environment = {**login, "AWS_ENDPOINT_URL": recorder.url, "QUEUE": here}
        with running(recipes["tag_uploads.py"], tmp_path, **environment) as printed:
            store.put_object(Bucket="uploads", Key="notes.txt", Body=b"no image, and no message")
            store.put_object(Bucket="uploads", Key=ODD, Body=APART, Tagging="team=blue")
            store.put_object(Bucket="uploads", Key="close.vhd", Body=CLOSE)
            etag = store.put_object(Bucket="uploads", Key="large.vhd", Body=TOO_LARGE)["ETag"].strip('"')
            assert until(lambda: tags("large.vhd"), printed) == {"vhdcheck": "refused 413", "vhdcheck-etag": etag}
            assert until(lambda: tags("close.vhd"), printed)["vhdcheck"] == "accepted"
            assert tags(ODD) == {
                "team": "blue",
                "vhdcheck": "accepted",
                "vhdcheck-etag": store.head_object(Bucket="uploads", Key=ODD)["ETag"].strip('"'),
            }
            assert is_metadata_alone(recorder, f"/uploads/{ODD}", APART)
            assert is_metadata_alone(recorder, "/uploads/close.vhd", CLOSE)
            assert tags("notes.txt") == {}
            store.put_object(Bucket="uploads", Key="large.vhd", Body=CLOSE)  # put right
            assert until(lambda: tags("large.vhd"), printed)["vhdcheck"] == "accepted"
            attributes = {"QueueUrl": queue, "AttributeNames": ["All"]}
            until(
                lambda: (
                    sqs.get_queue_attributes(**attributes)["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "0"
                ),
                printed,
            )
    sqs.close()
    store.close()


def event(container: str, name: str) -> str:
    """Write what Event Grid puts into a queue, as Microsoft documents it for a blob that was made."""
    content = {
        "topic": "/subscriptions/0/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/devstoreaccount1",
        "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
        "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": "2026-01-01T00:00:00.0000000Z",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": {"api": "PutBlob", "blobType": "BlockBlob", "eTag": "0x8D4BCC2E4835CD0", "contentLength": 1},
        "dataVersion": "",
        "metadataVersion": "1",
    }
    return base64.b64encode(json.dumps(content).encode()).decode()


def test_metadata_in_azure(azure: Served, azurite: Azurite, recipes: dict[str, str], tmp_path: Path) -> None:
    blobs = pytest.importorskip("azure.storage.blob")
    queues = pytest.importorskip("azure.storage.queue", reason="azure-storage-queue is not installed")
    good = fixed(20 * MIB).tobytes()
    direct = re.search(r"BlobEndpoint=([^;]+)", azure.options["connection_string"])
    assert direct
    with azurite.serving("queue") as url, Recorder(direct[1]) as recorder:
        login = f"{AZURE_LOGIN}QueueEndpoint={url};BlobEndpoint={recorder.url}{urlsplit(direct[1]).path};"
        queue = queues.QueueClient.from_connection_string(login, "uploads")
        queue.create_queue()
        container = blobs.ContainerClient.from_connection_string(azure.options["connection_string"], "images")

        def come(name: str, data: bytes) -> None:
            container.upload_blob(name, data, overwrite=True, metadata={"team": "blue"})
            queue.send_message(event("images", name))

        def verdict(name: str) -> str | None:
            said: str | None = container.get_blob_client(name).get_blob_properties().metadata.get("vhdcheck")
            return said

        with running(recipes["mark_uploads.py"], tmp_path, AZURE_STORAGE_CONNECTION_STRING=login) as printed:
            come(ODD, good)
            come("dynamic.vhd", APART)
            queue.send_message(event("images", "gone.vhd"))
            come("last.vhd", good)
            assert until(lambda: verdict(ODD), printed) == "accepted"
            assert until(lambda: verdict("dynamic.vhd"), printed) == "refused 111"
            assert until(lambda: verdict("last.vhd"), printed) == "accepted"
            assert container.get_blob_client(ODD).get_blob_properties().metadata["team"] == "blue"
            assert is_metadata_alone(recorder, "/devstoreaccount1/images/dynamic.vhd", APART)
            ranges = recorder.ranges(f"/devstoreaccount1/images/{ODD}")
            assert sorted(ranges) == [(0, END), (len(good) - END, len(good))]
            come(ODD, TOO_LARGE)  # another in its place
            assert until(lambda: verdict(ODD), printed) == "refused 111"
            until(lambda: queue.get_queue_properties().approximate_message_count == 0, printed)
        for client in (queue, container):
            client.close()
