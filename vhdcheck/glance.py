"""A plugin for Glance's image import: what would be refused later is refused before it is stored.

    [image_import_opts]
    image_import_plugins = ['vhdcheck']

How it works. Glance calls `get_flow` for each import, by the entry point `vhdcheck`. It runs the task that this returns
when the image is in the staging area, and in no store yet. Four habits of Glance shape the code:

- It skips a plugin that it cannot load, or of which `get_flow` raises, and imports without it. So nothing that can go
  wrong is done before `execute`: there a wrong option or a broken installation fails the import.
- Of all errors it shows its users the text of `UploadException` alone.
- Where an import of a staged image fails, it is for the plugin to put the image back to `queued`, and to remove its
  file. `revert` does, also where a later task fails. A downloaded image is put back by the task that downloaded it. To
  put back what is `queued` already is an error in Glance, and leaves the image locked for an hour.
- It states the original size of a dynamic disk as its virtual size, after all plugins have run. `_Sized` sees to that.

`.github/GLANCE.md` says how to set it up.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from glance.async_.flows.api_image_import import ImportActionWrapper
from glance.common.exception import UploadException
from oslo_config import cfg
from taskflow import task
from taskflow.patterns import linear_flow

import vhdcheck
from vhdcheck import targets
from vhdcheck.escape import printable
from vhdcheck.report.words import lines
from vhdcheck.verdict.codes import Code, message

if TYPE_CHECKING:
    from vhdcheck import Report

LOG: Final = logging.getLogger(__name__)
CONF: Final = cfg.CONF
CONF.register_opts(
    (
        cfg.StrOpt("target", default="glance", help="What to judge for: a target's name, or the path of a TOML file."),
        cfg.StrOpt("max_virtual_size", help="Limit on the disk's size, such as 40GiB, instead of the target's."),
        cfg.StrOpt("max_physical_size", help="Limit on the file's length, instead of the target's."),
        cfg.StrOpt("refuse", default="error", choices=("error", "warning"), help="The least that refuses an image."),
        cfg.ListOpt("disk_formats", default=["vhd"], help="Disk formats of the images to look at. Others pass."),
        cfg.BoolOpt("mend", default=False, help="Mend an image whose repair is certain, in place of refusing it."),
    ),
    group="vhdcheck",
)
NOT_CHECKED: Final = "The image cannot be imported. vhdcheck could not check it: the log of this Glance says why."
UNSPECIFIED: Final = message(Code.UNSPECIFIED, max_virtual_size=None, max_physical_size=None)
FIXED: Final = "this Glance takes no fixed disks: [image_format] require_image_format_match"


def get_flow(**given: Any) -> Any:
    """Return the check, as Glance adds it to an import.

    Args:
        given: by Glance: `task_id`, `task_type`, `action_wrapper`, `backend` (names of stores), and more.
    """
    return linear_flow.Flow(given["task_type"]).add(_Check(given))


class _Check(task.Task):
    """Checks a staged image."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__(name=f"{given['task_type']}-vhdcheck-{given['task_id']}")
        self._wrapper = given["action_wrapper"]
        self._stores = given.get("backend") or []
        self._was_staged = given["import_req"]["method"]["name"] == "glance-direct"
        self._path: Path | None = None

    def execute(self, file_path: str, **_: object) -> None:
        """Let the image pass, with its right size, or refuse it.

        Args:
            file_path: of the staged file: `file:///...`.

        Raises:
            UploadException: it is refused, or could not be checked.
        """
        self._path = Path(file_path.removeprefix("file://"))
        with self._wrapper as action:
            disk_format, is_bare = action.image_disk_format, action.image_container_format == "bare"
            is_signed = "img_signature" in action.image_extra_properties  # mended, it would be another image
        try:
            if disk_format not in CONF.vhdcheck.disk_formats:
                return
            refused = self._judge(self._path, is_bare=is_bare, may_mend=CONF.vhdcheck.mend and not is_signed)
        except Exception as problem:
            LOG.exception("image %s: vhdcheck could not check it", self._wrapper.image_id)
            raise UploadException(NOT_CHECKED) from problem
        if refused:
            raise UploadException(refused)

    def _judge(self, path: Path, *, is_bare: bool, may_mend: bool) -> str | None:
        """Check, log what was found, mend if that is wanted, and return why the image is refused."""
        report = self._checked(path)
        refused = _refused(report, is_bare=is_bare)
        if refused and may_mend and self._is_mended(path):
            report = self._checked(path)
            refused = _refused(report, is_bare=is_bare)
        LOG.info("image %s: %s", report.source, f"refused: {refused}" if refused else "accepted")
        if not refused and report.image.footer is not None:
            self._wrapper.__class__ = _Sized
            self._wrapper.virtual_size = report.image.footer.current_size
        return refused

    def _checked(self, path: Path) -> Report:
        """Check, and log each finding."""
        report = vhdcheck.check(path, **_judged_for(), name=str(self._wrapper.image_id))
        for finding in report.findings:
            level = logging.INFO if finding.severity == vhdcheck.Severity.NOTE else logging.WARNING
            head = f"{finding.severity.word}[{finding.rule}] {finding.slug}"
            LOG.log(level, "image %s: %s: %s", report.source, head, "; ".join(lines(finding)))
        return report

    def _is_mended(self, path: Path) -> bool:
        """Mend the staged file, if its repair is certain; log what was done, or why nothing was."""
        from vhdcheck.mend import mend, plan

        image, judged_for = self._wrapper.image_id, _judged_for()
        planned = plan(path, **judged_for)
        if not planned.is_certain:
            why = "; ".join(planned.reasons) or "that depends on the guest's data"
            LOG.info("image %s: not mended: %s", image, printable(why))
            return False
        steps = ", ".join(step.kind for step in planned.steps)
        algorithm = CONF.hashing_algorithm
        before = _digest(path, algorithm)
        LOG.info("image %s: to be mended: %s; %s %s", image, steps, algorithm, before)
        try:
            done = mend(path, in_place=True, **judged_for)
        except vhdcheck.VhdcheckError:
            LOG.exception("image %s: not mended", image)
            return False
        if not done.ok:
            LOG.warning("image %s: not mended: %s", image, printable("; ".join(done.reasons)))
            return False
        with self._wrapper as action:
            action.set_image_attribute(size=path.stat().st_size)
        after = _digest(path, algorithm)
        LOG.warning("image %s: mended: %s; %s of the file before %s, after %s", image, steps, algorithm, before, after)
        return True

    def revert(self, *_: object, **__: object) -> None:
        """Put the image back to `queued`, and remove its file. If another import has them now, this raises before."""
        self._wrapper.__class__ = ImportActionWrapper
        with self._wrapper as action:
            action.set_image_attribute(virtual_size=None)
            if self._was_staged and action.image_status == "importing":
                action.set_image_attribute(status="queued")
            action.remove_importing_stores(self._stores)
            action.add_failed_stores(self._stores)
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class _Sized(ImportActionWrapper):
    """Glance's own, which saves the image for each task of an import. This one saves the size that was found with it.

    While Glance stores an image, it takes the original size for the disk's. A plugin has its turn before that, and none
    afterwards.
    """

    virtual_size: int | None = None
    """The disk's, in bytes; None where nothing is known."""

    def __enter__(self) -> Any:
        self._action = super().__enter__()
        return self._action

    def __exit__(self, kind: object, problem: object, trace: object) -> None:
        if kind is None and self.virtual_size is not None:
            self._action.set_image_attribute(virtual_size=self.virtual_size)
        super().__exit__(kind, problem, trace)


def _judged_for() -> dict[str, Any]:
    """Return target and limits. Whether Glance takes fixed disks is asked of its own configuration."""
    ours, target = CONF.vhdcheck, targets.load(CONF.vhdcheck.target)
    if target == targets.load("glance"):
        target = replace(target, disk_types=("fixed", "dynamic"))
    return {"target": target, "max_virtual_size": ours.max_virtual_size, "max_physical_size": ours.max_physical_size}


def _digest(path: Path, algorithm: str) -> str:
    """Sum a file up, as Glance does: it states the same of what it stores, as `os_hash_value`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _refused(report: Report, *, is_bare: bool) -> str | None:
    """Say why an image is refused, in the task's words; None if it is not."""
    least = vhdcheck.Severity[CONF.vhdcheck.refuse.upper()]
    if report.findings and report.findings[0].severity >= least:  # the worst comes first
        return f"{report.message or UNSPECIFIED} ({report.findings[0].rule} {report.findings[0].slug})"
    is_fixed = report.image.footer is not None and not report.image.footer.is_sparse
    if is_fixed and is_bare and CONF.image_format.require_image_format_match:
        return f"{UNSPECIFIED} ({FIXED})"
    return None
