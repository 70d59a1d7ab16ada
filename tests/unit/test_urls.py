"""Which names are URLs, and which of those stand for several images."""

from __future__ import annotations

import pickle

import pytest

from vhdcheck.sources.urls import StoredObject, is_in_store, is_store_folder, is_store_pattern, is_url


@pytest.mark.parametrize(
    ("name", "url", "in_store", "folder", "pattern"),
    [
        ("disk.vhd", False, False, False, False),
        ("folder/", False, False, False, False),
        ("*.vhd", False, False, False, False),
        ("C://disk.vhd", False, False, False, False),
        ("s3:/bucket/", False, False, False, False),
        ("1s3://bucket/", False, False, False, False),
        (b"s3://bucket/", False, False, False, False),
        ("https://host/folder/", True, False, False, False),
        ("HTTP://host/*", True, False, False, False),
        ("s3://bucket/disk.vhd", True, True, False, False),
        ("s3://bucket/disk[1]?.vhd", True, True, False, False),
        ("az://container/", True, True, True, False),
        ("s3://bucket/*", True, True, False, True),
        ("s3://bucket/*/", True, True, True, True),
    ],
)
def test_names(name: object, url: bool, in_store: bool, folder: bool, pattern: bool) -> None:
    assert (is_url(name), is_in_store(name)) == (url, in_store)
    assert (is_store_folder(name), is_store_pattern(name)) == (folder, pattern)


def test_what_a_listing_told_goes_to_workers_too() -> None:
    stored = StoredObject("s3://bucket/disk.vhd", {"size": 5, "ETag": '"x"'})
    again = pickle.loads(pickle.dumps(stored))  # noqa: S301 (our own)
    assert (again, type(again), again.info) == ("s3://bucket/disk.vhd", StoredObject, {"size": 5, "ETag": '"x"'})
