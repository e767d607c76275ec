"""What several commands read from their options."""

from __future__ import annotations

from leadline.errors import UserError


def parse_size(text: str) -> tuple[int, int]:
    """ "384x1248" -> (384, 1248): height, width in px."""
    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise UserError(f"--size {text!r}: write it as HEIGHTxWIDTH, such as 384x1248")
    return int(height), int(width)
