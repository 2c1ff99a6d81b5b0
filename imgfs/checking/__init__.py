"""Checking an image against rules: what its layers waste, and what may be in it."""

from imgfs.checking.check import Result, check_image
from imgfs.checking.rules import DIVE_DEFAULTS, Rules, rules_of

__all__ = ["DIVE_DEFAULTS", "Result", "Rules", "check_image", "rules_of"]
