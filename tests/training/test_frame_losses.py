import kornia
import numpy as np
import pytest
import torch
from shared import shared_parity

from leadline import UserError
from leadline.models import Task
from leadline.nn.laplacian import laplacian_pyramid
from leadline.training.losses import make_loss


def loss(name, **options):
    return make_loss(name, Task.INTERPOLATION, **options).function


def everywhere(image):
    return torch.ones_like(image[:, :1], dtype=torch.bool)


def test_the_laplacian_loss_is_that_of_the_original():
    with np.load(shared_parity("ops_parity.npz")) as parity:
        one, two = (torch.from_numpy(parity[f"rife/lap/{key}"]) for key in ("pred", "gt"))
        levels, expected = parity["rife/lap/level_l1"], float(parity["rife/lap/loss"])
        pyr3, pyr4 = (torch.from_numpy(parity[f"rife/lap/pyr{k}"]) for k in (3, 4))
    assert loss("laplacian")(one, two, everywhere(one)).item() == pytest.approx(expected, rel=1e-5)
    found = laplacian_pyramid(one - two, 5)
    assert [level.abs().mean().item() for level in found[:5]] == pytest.approx(levels.tolist(), rel=1e-5)
    own = laplacian_pyramid(one, 5)
    torch.testing.assert_close(own[3], pyr3, atol=1e-6, rtol=0)
    torch.testing.assert_close(own[4], pyr4, atol=1e-6, rtol=0)


def test_the_laplacian_loss_leaves_the_mean_colour_out_unless_asked():
    one = torch.rand(1, 3, 32, 64)
    brighter = one + 0.1
    fine, all_of_it = (loss("laplacian", coarse=coarse)(one, brighter, everywhere(one)) for coarse in (False, True))
    assert fine < 0.05  # the border alone, where zeros are reflected
    assert (all_of_it - fine).item() == pytest.approx(0.1, abs=0.01)
    with pytest.raises(UserError, match="multiples of 32"):
        loss("laplacian")(one[..., :48], one[..., :48], everywhere(one[..., :48]))
    loss("laplacian", levels=4)(one[..., :48], one[..., :48], everywhere(one[..., :48]))


def test_blurring_is_that_of_kornia():
    image = torch.rand(2, 3, 32, 32)
    down = kornia.filters.filter2d(image, kornia.filters.kernels.get_pascal_kernel_2d(5)[None], "reflect")[
        ..., ::2, ::2
    ]
    torch.testing.assert_close(laplacian_pyramid(image, 1)[1], down, atol=1e-6, rtol=0)


def test_the_ternary_loss_sees_structure_and_not_brightness():
    image = torch.rand(1, 3, 24, 24)
    call = loss("ternary")
    same, brighter, other = (call(other, image, everywhere(image)) for other in (image, image + 0.05, image.flip(3)))
    assert same < 1e-6
    assert brighter < 1e-3
    assert other > 0.2
    assert call(image.flip(3), image, ~everywhere(image)) == 0


def test_the_motion_loss_by_hand():
    truth = torch.zeros(1, 4, 8, 8)
    found = truth.clone()
    found[:, 0] = 3
    found[:, 1] = 4  # the first flow is off by 5 px, the second by none
    known = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    known[..., :4] = True
    found[..., 4:] = 100
    assert loss("motion")(found, truth, known).item() == pytest.approx(2.5, abs=0.01)
    assert loss("motion", limit=2.0)(found, truth, known).item() == pytest.approx(1.0, abs=0.01)
    assert loss("motion")(found, truth, ~known & known) == 0


def test_losses_for_other_tasks_are_refused():
    with pytest.raises(UserError, match="loss laplacian is for interpolation"):
        make_loss("laplacian", Task.STEREO)
