"""What stops a mending: a sentence for the image's owner."""

from __future__ import annotations


class Unmendable(Exception):  # a verdict, not an error
    """The image does not say what would be right."""
