"""What can go wrong, each with one line that names what was expected and what came."""

from __future__ import annotations


class MlpserveError(Exception):
    """Base of every error that this package raises on purpose."""


class ExportError(MlpserveError):
    """A model that cannot be expressed as a block, or a folder that cannot be written."""


class VerificationError(MlpserveError):
    """A served block that answers outside the bounds computed for the original."""
