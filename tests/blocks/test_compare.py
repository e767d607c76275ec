"""Variants of equal cost, and a comparison that trains them."""

import math

import pytest

from leadline import UserError
from leadline.blocks import compare as module
from leadline.blocks.compare import compare, read_rows, write_rows
from leadline.nn.units.parts import KINDS


@pytest.mark.parametrize(("family", "kind"), [("conv", "separable"), ("conv", "deformable")])
def test_widths_make_the_cost_about_equal(family, kind):
    budget = module._macs(module._config(family, KINDS[family][0], 1.0))
    width = module._width(family, kind, budget)
    assert (width > 1) == (kind != "deformable")
    assert math.isclose(module._macs(module._config(family, kind, width)), budget, rel_tol=0.12)


def test_two_kinds_are_trained_and_measured(tmp_path):
    told = []
    rows = compare("attention", steps=2, kinds=["se"], folder=tmp_path / "runs", progress=told.append)
    assert [row.kind for row in rows] == ["none", "se"]
    assert all(row.epe_px > 0 and row.milliseconds > 0 and row.steps == 2 for row in rows)
    assert len(told) == 2
    weights = tmp_path / "runs" / "attention-se" / "variant.safetensors"
    written = weights.stat().st_mtime_ns
    assert compare("attention", steps=2, kinds=["se"], folder=tmp_path / "runs")[1].epe_px == rows[1].epe_px
    assert weights.stat().st_mtime_ns == written  # nothing was trained again
    again = read_rows(write_rows(tmp_path / "x.csv", rows))
    assert [row.kind for row in again] == ["none", "se"]
    assert again[0].epe_px == pytest.approx(rows[0].epe_px, rel=1e-3)


def test_the_budget_is_shared_by_all_kinds(tmp_path):
    configs = [module._config("volume", kind, 1.0) for kind in KINDS["volume"]]
    few = module._steps("volume", configs, 3.0, 1, tmp_path)
    assert 1 <= few <= 100
    assert module._steps("volume", configs, 3000.0, 1, tmp_path) == few  # kept, so that a run can be taken up
    assert module._steps("volume", configs, 3000.0, 1, tmp_path / "other") > few


def test_unknown_families_and_kinds():
    with pytest.raises(UserError, match="did you mean 'residual'"):
        compare("residuals")
    with pytest.raises(UserError, match="did you mean 'inverted'"):
        compare("residual", kinds=["invertd"])
