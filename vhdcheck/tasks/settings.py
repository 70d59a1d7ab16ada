"""What the operator may decide. Every setting is an option of `serve` and an environment variable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from vhdcheck import targets

TENANT: Final = "{tenant}"
"""Stands for the tenant in the place of the object store."""


class Limits(TypedDict):
    """What images are judged by; the arguments of `check`."""

    target: str
    max_virtual_size: str | None
    max_physical_size: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """How one service is set up; workers on other machines get it too."""

    data: Path = Path("vhdcheck-tasks")
    """Folder for what has no other place; absolute, as are all folders below."""
    database: str = ""
    objects: str = ""
    images: str = ""
    target: str = targets.DEFAULT
    max_virtual_size: str | None = None
    max_physical_size: str | None = None
    workers: int = 2
    executor: str = ""
    """`dask://HOST:PORT`; by default threads of this process."""
    max_waiting: int = 1000
    """Pending tasks beyond which no more are taken."""
    expire_hours: float = 48.0
    lease_seconds: float = 30.0
    """How long a task may be without a sign of life from its worker."""
    max_attempts: int = 10
    """Times that a task is taken up before it is given up: one that kills its workers must not do so for ever."""
    grace_seconds: float = 30.0
    """How long a shutdown waits for the work under way."""

    @property
    def limits(self) -> Limits:
        """What images are judged by."""
        return {
            "target": self.target,
            "max_virtual_size": self.max_virtual_size,
            "max_physical_size": self.max_physical_size,
        }

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
