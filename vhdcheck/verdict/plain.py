"""A report as plain values, for programs in any language: what `--format json` has for each image.

`vhdcheck/report/schemas/report-v2.schema.json` explains each field.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from vhdcheck.chain import own_data
from vhdcheck.escape import as_unicode
from vhdcheck.format import creators
from vhdcheck.format.geometry import size_by_geometry
from vhdcheck.format.structures import DIFFERENCING, EPOCH, Footer
from vhdcheck.verdict.finding import counted

if TYPE_CHECKING:
    from vhdcheck.chain import Chain
    from vhdcheck.format.span import Span
    from vhdcheck.image import Image
    from vhdcheck.verdict.finding import Finding
    from vhdcheck.verdict.report import Report


def plain(report: Report) -> dict[str, Any]:
    """Make a report plain; without the map, which is drawn later."""
    return {
        "source": as_unicode(report.source),
        "verdict": "accepted" if report.ok else "refused",
        "code": None if report.code is None else int(report.code),
        "message": report.message,
        "size": report.size,
        "bytes_read": report.bytes_read,
        "rounds": report.rounds,
        "requests": report.requests,
        "image": _image(report),
        "unexamined": list(report.image.unexamined),
        "findings": [_finding(finding) for finding in report.findings],
        "repair": None if report.repair is None else report.repair.to_dict(),
        "map": None,
        "chain": None if report.chain is None else _chain(report.chain),
        "ignored": counted(report.ignored),
    }


def _image(report: Report) -> dict[str, Any] | None:
    described = facts(report.image)
    if described is not None:
        described["other_sizes"] = [{"reader": why, "size": size} for why, size in other_sizes(report.image)]
    return described


def _chain(chain: Chain) -> dict[str, Any]:
    """Make a chain plain: the nearest parent first."""
    return {
        "end": chain.end,
        "depth": chain.depth,
        "own_data": own_data(chain.image),
        "parents": [
            {
                "source": as_unicode(parent.name),
                "virtual_size": None if parent.image.footer is None else parent.image.footer.current_size,
                "disk_type": None if parent.image.footer is None else kind(parent.image.footer),
                "own_data": own_data(parent.image),
                "refused_for": list(parent.refused_for),
            }
            for parent in chain.parents
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "slug": finding.slug,
        "severity": finding.severity.word,
        "code": int(finding.code),
        "message": as_unicode(finding.message),
        "location": None if finding.at is None else _span(finding.at),
        "expected": as_unicode(finding.expected),
        "found": as_unicode(finding.found),
        "fix": as_unicode(finding.fix),
        "related": [_span(span) for span in finding.related],
        "raised_by": as_unicode(finding.raised_by) or None,
    }


def _span(span: Span) -> dict[str, Any]:
    return {"offset": span.offset, "length": span.length, "field": span.field}


def kind(footer: Footer) -> str:
    """The disk type in a word."""
    return creators.DISK_TYPES.get(footer.disk_type, f"type {footer.disk_type}")


def creator(footer: Footer) -> str:
    """The creator in words: `qemu-img ("qemu" 5.3)`."""
    tag = footer.creator_application.rstrip(b"\0 ").decode("ascii", "backslashreplace")
    version = f"{footer.creator_version >> 16}.{footer.creator_version & 0xFFFF}"
    name, host = creators.program(footer), creators.host(footer)
    words = f'{name} ("{tag}" {version})' if name else f'an unknown program ("{tag}" {version})'
    return f"{words} on {host}" if host else words


def created(footer: Footer) -> str:
    """The creation time as `2024-01-01T00:00:00Z`; empty where it is not recorded."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(footer.timestamp + EPOCH)) if footer.timestamp else ""


class OtherSize(NamedTuple):
    """A size, in bytes, that some readers take for the disk's; and why, as a clause: `qemu goes by the geometry`."""

    why: str
    size: int


def other_sizes(image: Image) -> list[OtherSize]:
    """List readers that see another size than the current one, and which."""
    footer, sizes = image.footer, list[OtherSize]()
    if footer is None:
        return sizes
    if footer.original_size != footer.current_size:
        sizes.append(OtherSize("libvhdi and oslo.utils go by the original size", footer.original_size))
    by_geometry = size_by_geometry(footer)
    if by_geometry is not None and by_geometry != footer.current_size:
        who = "qemu" if footer.creator_application in creators.CHS_ALWAYS else "qemu 9 and older"
        sizes.append(OtherSize(f"{who} goes by the geometry", by_geometry))
    if image.copy is not None and footer is not image.copy and image.copy.current_size != footer.current_size:
        sizes.append(OtherSize("readers of the footer's copy go by that", image.copy.current_size))
    return sizes


def facts(image: Image) -> dict[str, Any] | None:
    """Describe an image to a program; None where there is no footer. Sizes and offsets are bytes."""
    import uuid  # the text has no use for it

    footer = image.footer
    if footer is None:
        return None
    facts: dict[str, Any] = {
        "disk_type": kind(footer),
        "virtual_size": footer.current_size,
        "original_size": footer.original_size,
        "geometry": {
            "cylinders": footer.cylinders,
            "heads": footer.heads,
            "sectors_per_track": footer.sectors_per_track,
            "size": footer.geometry_size,
        },
        "creator": {
            "application": footer.creator_application.decode("latin-1"),
            "version": f"{footer.creator_version >> 16}.{footer.creator_version & 0xFFFF}",
            "host_os": footer.creator_host_os.decode("latin-1"),
            "words": creator(footer),
        },
        "created": created(footer) or None,
        "unique_id": str(uuid.UUID(bytes=footer.unique_id)),
        "footer_offset": footer.offset,
        "blocks": None,
        "parent": None,
    }
    if (header := image.header) is not None and (table := image.table) is not None:
        facts["blocks"] = {
            "size": header.block_size,
            "total": image.blocks_needed,
            "used": table.used,
            "in_order": table.in_order,
            "table_offset": header.table_offset,
            "table_entries": header.max_table_entries,
            "capacity": header.block_size * header.max_table_entries,
        }
    if footer.disk_type == DIFFERENCING and image.header is not None:
        facts["parent"] = {
            "unique_id": str(uuid.UUID(bytes=image.header.parent_unique_id)),
            "name": image.header.parent_name,
        }
    return facts
