"""Readers of models: each makes of one framework's model a block, and can run the original."""

from mlpserve.frontends.lowered import Lowered, lower

__all__ = ["Lowered", "lower"]
