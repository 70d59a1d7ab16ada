"""What is left out of names and texts, and what is not."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdcheck.redaction import hidden, in_environment, masked, plain_words, redacted, values, without_urls


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("https://johndoe@example.org/a.vhd", "https://***@example.org/a.vhd"),
        ('"https://johndoe:hunter2@h/a.vhd?sig=tok3n"', '"https://***@h/a.vhd?***'),
        (" https://johndoe:hunter2@h/a.vhd", " https://***@h/a.vhd"),
        ("\ufeffhttps://h/a.vhd?sig=tok3n", "\ufeffhttps://h/a.vhd?***"),
        ("https:/johndoe:hunter2@h/a.vhd", "https:/***@h/a.vhd"),
        ("https:\\\\johndoe:hunter2@h/a.vhd", "https:\\\\***@h/a.vhd"),
        ("--output=https://johndoe:hunter2@h/a", "--output=https://***@h/a"),
        ("simplecache::https://johndoe:hunter2@h/a", "simplecache::https://***@h/a"),
        ("https://johndoe@x:hunt/er2@h/a.vhd", "https://***@h/a.vhd"),
        ("zip://a/b.vhd::https://johndoe:hunter2@h/z.zip?sig=tok3n", "zip://a/b.vhd::https://***@h/z.zip?***"),
        ("http://johndoe:hunter2@[::1", "http://***@[::1"),
        ("http://johndoe:hunter2@[fe80::1%25eth0]:80/a?x#y", "http://***@[fe80::1%25eth0]:80/a?***"),
        ("h/a.vhd?X-Amz-Signature=tok3n&x=1", "h/a.vhd?***"),
        ("a.vhd?v=1&access_token=tok3n", "a.vhd?***"),
        ("https://h/a.vhd&sig=tok3n", "https://h/a.vhd&***"),
        ("https://h/a.vhd;token=tok3n", "https://h/a.vhd;***"),
        ("abfss://images@account.dfs.core.windows.net/a.vhd", "abfss://images@account.dfs.core.windows.net/a.vhd"),
        ("abfss://johndoe:hunter2@account/a.vhd", "abfss://***@account/a.vhd"),
        ("swift+https://johndoe:hunter2@h/v1/A/c", "swift+https://***@h/v1/A/c"),
        ("dask://HOST:PORT", "dask://HOST:PORT"),
        # what is no URL stays as it is
        ("C:\\images\\a.vhd", "C:\\images\\a.vhd"),
        ("c:/images/a.vhd", "c:/images/a.vhd"),
        ("what?.vhd", "what?.vhd"),
        ("a?b=c@d.vhd", "a?b=c@d.vhd"),
        ("key=value@x.vhd", "key=value@x.vhd"),
        ("12:30/a@b.vhd", "12:30/a@b.vhd"),
        ("", ""),
    ],
)
def test_names(name: str, shown: str) -> None:
    assert redacted(name) == shown
    assert redacted(shown) == shown
    for part in hidden(name):
        assert part not in shown


def test_what_is_hidden() -> None:
    found = hidden("https://jo%40hn:pa%2Fss@h/a?X-Amz-Signature=0a1b&x=y#part")
    assert {"jo%40hn", "pa%2Fss", "0a1b", "y", "part"} <= {*found}
    assert hidden("https://h/folder/a.vhd") == hidden("a.vhd") == []
    assert hidden(redacted("https://jo:pa@h/a?x=y")) == []


@pytest.mark.parametrize(
    "form",
    [
        "jo@hn",
        "pa/ss",
        "jo%40hn",
        "PA%2fSS",
        b64encode(b"jo@hn:pa/ss").decode(),
        b64encode(b"jo%40hn:pa%2Fss").decode(),
        "Authorization: Basic " + b64encode(b"jo@hn:pa/ss").decode().rstrip("="),
    ],
)
def test_forms_of_a_secret(form: str) -> None:
    text = masked(f"the server says {form!r}, twice: {form}", hidden("https://jo%40hn:pa%2Fss@h/a"))
    assert "***" in text
    assert form.rpartition(" ")[2].lower() not in text.lower()
    assert text.startswith("the server says ")


def test_a_short_secret_hides_no_word() -> None:
    text = "a driver has a user 'a', and says abc"
    assert masked(text, ["a"]) == "*** driver has *** user '***', and says abc"
    assert masked(text, ["ab"]) == text
    assert masked(text, [""]) == masked(text, []) == text


def test_the_text_of_a_stranger() -> None:
    assert plain_words("Unable to locate credentials", ["hunter2"]) == "Unable to locate credentials"
    assert plain_words("no key hunter2 for AKIAIOSFODNN7EXAMPLE", ["hunter2"]) == "no key *** for ***"
    assert plain_words("wrong signature 0a1b2c3d4e5f60718293", []) == "wrong signature ***"
    assert plain_words("wrong signature Ab+" + "c" * 40, []) == "wrong signature ***"
    assert plain_words("GET https://h/a failed", []) == plain_words("sig=abc is wrong", []) == ""


def test_arguments_in_a_text() -> None:
    argument = "https://johndoe:hun ter@h/a"
    assert (
        without_urls(f"unknown: {argument!r}. Give another", [argument]) == "unknown: 'https://***@h/a'. Give another"
    )
    assert without_urls("https://johndoe:hunter2@h/a: no such file") == "https://***@h/a: no such file"
    assert without_urls("GET /v2/tasks?limit=2&token=tok3n 200") == "GET /v2/tasks?*** 200"
    assert without_urls("is it a.vhd? or 3:2=x") == "is it a.vhd? or 3:2=x"


def test_secrets_in_options() -> None:
    options = {
        "key": "johndoe",
        "client_kwargs": {"headers": {"X-Auth-Token": b"tok3n"}, "anon": True, "n": [3, ("hunter2",)]},
        "endpoint_url": "http://user:word@h:1/",
        "connection_string": "AccountName=acc;AccountKey=AbC/d==;",
    }
    found = {*values(options)}
    assert {"johndoe", "tok3n", "hunter2", "user", "word", "AbC/d=="} <= found
    assert "http://user:word@h:1/" not in found
    environment = {"AWS_SECRET_ACCESS_KEY": "a", "ST_KEY": "b", "OS_PASSWORD": "c", "AZURE_STORAGE_SAS_TOKEN": "d"}
    assert in_environment({**environment, "HOME": "/root", "USER": "root"}) == ["a", "b", "c", "d"]


word = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@given(user=word, password=word, signature=word)
def test_nothing_gets_through(user: str, password: str, signature: str) -> None:
    """Marked, so that what is found is the secret and not a letter of the name."""
    login = quote(f"\u2603{user}", safe="") + ":" + quote(f"\u2603{password}", safe="")
    url = f"https://{login}@host/a.vhd?sig=%E2%98%83{quote(signature, safe='')}"
    shown = redacted(url)
    assert shown == "https://***@host/a.vhd?***"
    told = masked(f"{url} by {login} and {signature}", hidden(url))
    assert "%E2%98%83" not in told
    assert "\u2603" not in told


@given(st.text())
def test_any_text(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once
    masked(text, hidden(text))
    without_urls(text, [text])


@pytest.mark.timeout(60)  # what takes a time that grows with the square takes an hour here
@pytest.mark.parametrize(
    "text",
    [
        "http://" * 50_000,
        "http://a@b@c/?#" * 30_000,
        "x::http://a" * 50_000,
        "a" * 1_000_000 + "?",
        "aa:" * 300_000,
        "http://x?" + "sig=" * 100_000,
        "?" + "sig" * 300_000,
        "http://" + ":" * 1_000_000,
        "http://x" + "." * 1_000_000 + "a",
        "1a" * 500_000,
        "[" * 500_000 + "http://[",
    ],
    ids=lambda text: text[:15],
)
def test_hostile_names_end(text: str) -> None:
    redacted(text)
    without_urls(text, [text[:3000]])
    plain_words(text, ["ab"])


def test_what_lies_in_too_many_urls_is_left_out_as_a_whole() -> None:
    name = "http://a/" * 30 + "secret"
    assert "secret" not in redacted(name)
    assert hidden(name)
