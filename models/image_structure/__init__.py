"""Checks of a whole encoded image before a decoder sees it.

A decoder trusts the lengths, counts and offsets in a file. Here each is compared with the bytes of the file,
so that a damaged or hostile file is refused in about the time that reading it takes, without using memory.
"""

from models.image_structure.base import Structure
from models.image_structure.examine import examine

__all__ = ["Structure", "examine"]
