"""What the right view does not show is found by the true disparity alone."""

import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def regions(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import error_regions

    yield error_regions.regions
    sys.modules.pop("error_regions")


def test_a_square_hides_as_many_columns_as_it_stands_out(regions):
    """A square at 12 px before a wall at 4 px: 8 columns of the wall are hidden to its left, 4 lie outside."""
    disparity, valid = np.full((20, 60), 4.0, np.float32), np.ones((20, 60), bool)
    disparity[5:15, 30:45] = 12.0
    valid[:, 59] = False
    found = regions(disparity, valid)
    assert (sum(part.astype(int) for part in found.values()) == valid).all()
    assert found["beyond"][:, :4].all()
    assert found["beyond"].sum() == 4 * 20
    assert found["hidden"][5:15, 22:30].all()
    assert found["hidden"].sum() == 8 * 10
    assert found["edges"][9:11, 30:34].all()
    assert not found["edges"][9:11, 36:40].any()
