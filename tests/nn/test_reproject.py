"""Reprojection against planes, where the other view is known in closed form."""

import math

import torch

from leadline.nn.reproject import project, reproject

INTRINSICS = torch.tensor([[50.0, 55.0, 30.0, 22.0]])


def _pose(turn: float, shift: tuple[float, float, float]) -> torch.Tensor:
    """A turn about the vertical axis and a shift."""
    cos, sin = math.cos(turn), math.sin(turn)
    return torch.tensor(
        [[[cos, 0, sin, shift[0]], [0, 1, 0, shift[1]], [-sin, 0, cos, shift[2]], [0, 0, 0, 1]]], dtype=torch.float64
    )


def test_a_shift_along_x_moves_a_plane_by_focal_times_shift_over_depth():
    depth = torch.full((1, 1, 40, 60), 2.0, dtype=torch.float64)
    x, y, z = project(depth, INTRINSICS.double(), _pose(0, (0.1, 0, 0)))
    columns = torch.arange(60, dtype=torch.float64).expand(40, 60)
    torch.testing.assert_close(x[0], columns + 50 * 0.1 / 2)
    torch.testing.assert_close(y[0], torch.arange(40, dtype=torch.float64)[:, None].expand(40, 60))
    torch.testing.assert_close(z, depth[:, 0])


def test_a_slanted_plane_moves_by_its_homography():
    """For n X = d points x' ~ K (R + t n^T / d) K^-1 x, an independent formula (Hartley and Zisserman, eq. 13.2)."""
    normal, distance = torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64), 3.0
    k = torch.tensor([[50.0, 0, 30], [0, 55.0, 22], [0, 0, 1]], dtype=torch.float64)
    rows, columns = torch.meshgrid(
        torch.arange(40, dtype=torch.float64), torch.arange(60, dtype=torch.float64), indexing="ij"
    )
    pixels = torch.stack([columns, rows, torch.ones_like(rows)]).flatten(1)
    rays = torch.linalg.solve(k, pixels)
    depth = (distance / (normal @ rays)).view(1, 1, 40, 60)
    pose = _pose(0.05, (0.2, -0.1, 0.3))
    homography = k @ (pose[0, :3, :3] + torch.outer(pose[0, :3, 3], normal) / distance) @ torch.linalg.inv(k)
    expected = homography @ pixels
    x, y, _ = project(depth, INTRINSICS.double(), pose)
    torch.testing.assert_close(x.flatten(), expected[0] / expected[2])
    torch.testing.assert_close(y.flatten(), expected[1] / expected[2])


def test_what_leaves_the_frame_or_comes_behind_the_camera_is_not_seen():
    depth = torch.full((1, 1, 40, 60), 1.0)
    _, seen = reproject(torch.zeros(1, 3, 40, 60), depth, INTRINSICS, _pose(0, (0.5, 0, 0)).float())
    assert seen[0, 0, :, : 60 - 25].all()
    assert not seen[0, 0, :, 60 - 25 :].any()
    _, seen = reproject(torch.zeros(1, 3, 40, 60), depth, INTRINSICS, _pose(0, (0, 0, -2.0)).float())
    assert not seen.any()


def test_gradients_are_finite_where_a_point_passes_through_the_other_camera():
    depth = torch.full((1, 1, 8, 8), 1.0, requires_grad=True)
    pose = _pose(0, (0.3, 0, -1.0)).float().requires_grad_()
    moved, _ = reproject(torch.rand(1, 3, 8, 8), depth, INTRINSICS, pose)
    moved.sum().backward()
    assert depth.grad is not None
    assert pose.grad is not None
    assert torch.isfinite(depth.grad).all()
    assert torch.isfinite(pose.grad).all()
