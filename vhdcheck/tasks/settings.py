"""What the operator may decide: one field here is one option of `serve`, one key of its file, one variable.

`Settings` is what the work needs, also on other machines; `Serving` is what only the server needs. pydantic holds the
values to their types and bounds; where they come from, and how an error is told, is in `configure`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal, TypedDict

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from vhdcheck import targets
from vhdcheck.sources.urls import is_url
from vhdcheck.tasks.task import Quota
from vhdcheck.units import parse_size

TENANT: Final = "{tenant}"
"""Stands for the tenant in the place of the object store."""


class Limits(TypedDict):
    """What images are judged by; the arguments of `check`."""

    target: str
    max_virtual_size: str | None
    max_physical_size: str | None


def _number(value: object) -> object:
    """Refuse what Python takes for 0 and 1."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not true or false")  # noqa: TRY004 (pydantic wants it)
    return value


def _size(value: str) -> str:
    parse_size(value)
    return value


def _place(value: str) -> str:
    """Make a folder absolute: workers elsewhere have other working directories."""
    return value if not value or is_url(value) else str(Path(value).absolute())


def matching(pattern: str, words: str) -> AfterValidator:
    """Hold a text to a pattern, and say in words what it should be."""

    def hold(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"should be {words}")
        return value

    return AfterValidator(hold)


Count = Annotated[int, BeforeValidator(_number), Field(gt=0, lt=1 << 31)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, lt=1e9, allow_inf_nan=False)]
Size = Annotated[str, AfterValidator(_size)]
Place = Annotated[str, AfterValidator(_place)]
Folder = Annotated[Path, AfterValidator(Path.absolute)]


_DASK: Final = "dask://HOST:PORT or dask+tls://HOST:PORT"


class Settings(BaseModel):
    """How the work is set up; workers on other machines get it too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Folder = Field(
        Path("vhdcheck-tasks"), description="folder for what has no other place", validate_default=True
    )
    database: str = Field(
        "", description="URL of SQLAlchemy: postgresql://...; default: SQLite in the folder of data", repr=False
    )
    objects: Place = Field("", description="folder or fsspec URL of the containers; {tenant} stands for the tenant")
    images: Place = Field("", description="folder or fsspec URL of the imported images")
    target: str = Field(targets.DEFAULT, description="destination to judge for")
    max_virtual_size: Size | None = Field(None, description="the target's limit, overridden: 160GiB")
    max_physical_size: Size | None = Field(None, description="the target's limit, overridden")
    mend: Literal["off", "certain"] = Field(
        "off", description="off, or certain: mend a copy of a refused image whose repair is certain, and store that"
    )
    workers: Count = Field(2, description="tasks done at the same time")
    executor: Annotated[str, matching(r"|dask(\+tls)?://[^/\s]+:\d+", _DASK)] = Field(
        "", description=f"{_DASK}: have a cluster do the work"
    )
    max_waiting: Count = Field(1000, description="pending tasks of a tenant beyond which POST answers 503")
    expire_hours: Seconds = Field(48.0, description="how long a task can be seen after it has ended")
    quota_images: Count | None = Field(None, description="images that one tenant may keep")
    quota_bytes: Size | None = Field(None, description="length of all images that one tenant may keep: 10TiB")
    lease_seconds: Seconds = Field(30.0, description="after how long without a sign of life a task is another worker's")
    max_attempts: Count = Field(10, description="times that a task is taken up before it fails")
    grace_seconds: Annotated[float, BeforeValidator(_number)] = Field(
        30.0, ge=0, lt=1e9, allow_inf_nan=False, description="how long a shutdown waits for the work under way"
    )

    @property
    def limits(self) -> Limits:
        """What images are judged by."""
        return {
            "target": self.target,
            "max_virtual_size": self.max_virtual_size,
            "max_physical_size": self.max_physical_size,
        }

    @property
    def quota(self) -> Quota:
        """How much one tenant may keep."""
        return Quota(self.quota_images, None if self.quota_bytes is None else parse_size(self.quota_bytes))

    @property
    def database_url(self) -> str:
        """Where tasks are kept."""
        return self.database or f"sqlite:///{self.data / 'tasks.sqlite'}"

    @property
    def objects_place(self) -> str:
        """Where containers are; the tenant's name goes in where the place has `{tenant}`."""
        return self.objects or str(self.data / "objects" / TENANT)

    @property
    def images_place(self) -> str:
        """Where images are kept."""
        return self.images or str(self.data / "images")


class Serving(BaseModel):
    """How the server is set up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on", min_length=1)
    port: Annotated[int, BeforeValidator(_number)] = Field(
        9292, description="port to listen on; 0: any", ge=0, le=65535
    )
    tokens: Path | None = Field(None, description="TOML file of tokens; without it one is made, and printed once")
    keystone: Annotated[str, matching(r"|https?://[^/\s]+\S*", "a URL such as https://HOST:5000/v3")] = Field(
        "", description="URL of a Keystone to ask for tokens instead; its credentials are OS_USERNAME, ..."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")
    max_connections: Count = Field(500, description="connections at a time; beyond that the ones that wait are closed")
    request_seconds: Seconds = Field(
        20.0, description="how long a client may take to send a request, or not take any of an answer"
    )
