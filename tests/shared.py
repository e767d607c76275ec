"""Real data that lies beside the repository and is never copied into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared"


def shared_data(*parts: str) -> Path:
    """A file or folder under LEADLINE_TEST_DATA, by default ../shared/data; the test is skipped where it is absent."""
    return _present(Path(os.environ.get("LEADLINE_TEST_DATA", _BESIDE / "data")).joinpath(*parts))


def shared_parity(*parts: str) -> Path:
    """The same for `parity` beside the data."""
    return _present(Path(os.environ.get("LEADLINE_TEST_DATA", _BESIDE / "data")).parent.joinpath("parity", *parts))


def _present(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not here (set LEADLINE_TEST_DATA)")
    return path
