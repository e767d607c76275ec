"""What every accumulator is: plain sums, so that any split of the pixels adds up to the same result."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

S = TypeVar("S", bound="Sums")


@dataclass
class Sums:
    """Base of the accumulators: `a + b` adds field by field.

    Counts are integers and add exactly. Real sums are float64, so another order of adding may change the last
    bits (about 1e-13, relative). Instances pickle, so ranks gather theirs and add them: `sum(gathered, Kind())`.
    """

    def __add__(self: S, other: S) -> S:
        return type(self)(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))
