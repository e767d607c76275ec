from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F

from leadline.nn.resize import enlarge, reduce_disparity


@pytest.mark.parametrize("factor", [Fraction(9, 8), Fraction(5, 4), Fraction(3, 2), Fraction(2), Fraction(11, 8)])
def test_disparities_are_reduced_as_bilinear_resizing_does(factor):
    size = torch.Size((48, 80))
    found = 100 * torch.rand(2, 1, 112, 176, generator=torch.Generator().manual_seed(0))
    theirs = found[..., : int(48 * factor), : int(80 * factor)] / float(factor)
    expected = F.interpolate(theirs, size=size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(reduce_disparity(found, size, factor, 16), expected)


def test_a_plane_comes_back_in_its_own_px():
    factor = Fraction(9, 8)
    rows = torch.arange(54.0).view(1, 1, 54, 1).expand(1, 1, 54, 90)
    assert enlarge(torch.rand(1, 3, 48, 80), factor, 16).shape == (1, 3, 64, 96)
    found = reduce_disparity(F.pad(rows, (0, 6, 0, 10)), torch.Size((48, 80)), factor, 16)
    # Row y of 48 lies at (y + 0.5) 9/8 - 0.5 of 54, and a px there is 8/9 px here.
    expected = (torch.arange(48.0) + 0.5) - 0.5 * 8 / 9
    torch.testing.assert_close(found[0, 0], expected[:, None].expand(48, 80))
