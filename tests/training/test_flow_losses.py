"""Losses on flow against values worked out by hand, and a tiny run by a recipe."""

import numpy as np
import pytest
import torch

from leadline.errors import UserError
from leadline.models.network import Task
from leadline.nn.local_correlation import Displacements
from leadline.training.losses import make_loss
from leadline.training.losses.self_supervised_flow import occluded


def textured(height=32, width=48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.nn.functional.avg_pool2d(torch.rand(1, 3, height + 2, width + 2, generator=generator), 3, 1)


def flow(u: float, v: float, height=32, width=48) -> torch.Tensor:
    return torch.tensor([float(u), float(v)]).view(1, 2, 1, 1).expand(1, 2, height, width).clone()


@pytest.mark.parametrize("name", ["flow_photometric", "flow_census"])
def test_the_true_flow_costs_nothing_and_another_one_something(name):
    frame0 = textured()
    frame1 = torch.roll(frame0, (-1, 3), (2, 3))  # what was at (x, y) is at (x + 3, y - 1)
    loss = make_loss(name, Task.FLOW).function
    # rolled-in borders are wrong, but leave the frame
    true, zero = (loss(f, frame0, frame1) for f in (flow(3, -1), flow(0, 0)))
    assert true < 0.02
    assert zero > 5 * true
    prediction = flow(2.5, -0.7).requires_grad_()
    loss(prediction, frame0, frame1).backward()
    step = -prediction.grad.sum((2, 3)).flatten()
    assert step[0] > 0  # towards u = 3
    assert step[1] < 0  # towards v = -1


def test_census_is_blind_to_exposure():
    frame0 = textured()
    loss = make_loss("flow_census", Task.FLOW).function
    assert loss(flow(0, 0), frame0, (frame0 * 0.8 + 0.05)) < 0.15 * loss(flow(4, 3), frame0, frame0)


def test_smoothness_of_a_step_and_of_a_slant():
    frame = torch.full((1, 3, 8, 10), 0.5)
    step = torch.zeros(1, 2, 8, 10)
    step[..., 5:] = 1.0
    loss = make_loss("flow_smoothness", Task.FLOW).function
    assert float(loss(step, frame, frame)) == pytest.approx(1 / 9)  # one of nine column differences is 1, both channels
    slant = torch.arange(10.0).expand(1, 2, 8, 10)
    second = make_loss("flow_smoothness", Task.FLOW, order=2).function
    assert float(second(slant, frame, frame)) == pytest.approx(0)
    assert float(loss(slant, frame, frame)) == pytest.approx(1)
    edged = frame.clone()
    edged[..., 5:] = 1.0
    assert loss(step, edged, edged) < 1e-6  # an edge of the image excuses it


def test_forward_backward_leaves_hidden_pixels_out():
    forward, backward = torch.zeros(2, 1, 2, 20, 40)
    forward[..., 5:15, 10:20][:, 0] = 6
    backward[..., 5:15, 16:26][:, 0] = -6
    hidden = torch.zeros(1, 1, 20, 40, dtype=torch.bool)
    hidden[..., 5:15, 20:26] = True
    assert torch.equal(occluded(forward, backward), hidden)
    loss = make_loss("forward_backward", Task.FLOW).function
    assert float(loss(forward, backward)) == pytest.approx(1e-3, abs=1e-4)  # the root of its floor
    off = backward.clone()
    off[:, 1] += 0.4
    assert float(loss(forward, off)) == pytest.approx(0.4, abs=0.01)


def test_the_visible_census_pays_for_what_it_hides():
    frame0 = textured()
    loss = make_loss("flow_census_visible", Task.FLOW, penalty=0.5).function
    agreeing = loss(flow(0, 0), flow(0, 0), frame0, frame0)
    hiding = loss(flow(0, 0), flow(9, 9), frame0, frame0)
    assert float(agreeing) == pytest.approx(0, abs=1e-4)
    assert float(hiding) == pytest.approx(0.5, abs=1e-4)


def test_displacement_cross_entropy_by_hand():
    """At half resolution, true flow 2.5 px to the right: 1.25 there, so planes 1 and 2 share it 3 : 1."""
    truth, valid = flow(2.5, 0, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.bool)
    scores = torch.randn(1, 15, 2, 2, generator=torch.Generator().manual_seed(1))  # rows -1..1, columns -2..2
    window = Displacements(scores, torch.zeros(1, 2, 2, 2), (1, 2))
    logs = torch.log_softmax(scores, 1)
    middle_row = 5
    expected = -(0.75 * logs[:, middle_row + 3] + 0.25 * logs[:, middle_row + 4]).mean()
    loss = make_loss("displacement_cross_entropy", Task.FLOW).function
    torch.testing.assert_close(loss([window], 1.0, truth, valid), expected)
    # counted from a flow that is already there, and left out where beyond reach or not valid
    moved = Displacements(scores, flow(1.25, 0, 2, 2), (1, 2))
    torch.testing.assert_close(loss([moved], 1.0, truth, valid), -logs[:, middle_row + 2].mean())
    far = truth.clone()
    far[..., :2] = 50
    expected = -(0.75 * logs[:, middle_row + 3] + 0.25 * logs[:, middle_row + 4])[..., 1:].mean()
    torch.testing.assert_close(loss([window], 1.0, far, valid), expected)
    assert float(loss([window], 1.0, truth, torch.zeros_like(valid))) == 0


def test_losses_of_another_task_are_refused():
    with pytest.raises(UserError, match="loss flow_census is for flow"):
        make_loss("flow_census", Task.STEREO)


@pytest.mark.parametrize(
    "losses",
    [
        [{"name": "end_point", "over": "all"}, {"name": "displacement_cross_entropy", "weight": 0.5}],
        [{"name": "flow_census_visible"}, {"name": "flow_smoothness", "weight": 0.1}, {"name": "forward_backward"}],
    ],
)
def test_a_tiny_run_lowers_its_loss(losses, tmp_path):
    from leadline.checkpoint import load_network
    from leadline.training import train
    from leadline.training.recipe import load_recipe

    recipe = tmp_path / "r.yaml"
    small = (
        "{name: plumb-flow, stem: 8, quarter: 8, eighth: 8, matching: 8, sixteenth: 8, hidden_quarter: 8, "
        "hidden_eighth: 8, hidden_sixteenth: 8, hidden_coarsest: 8, reach_rows: 1, reach_columns: 2}"
    )
    terms = "".join("  - {" + ", ".join(f"{key}: {value}" for key, value in term.items()) + "}\n" for term in losses)
    recipe.write_text(
        f"name: tiny\nnetwork: {small}\ndata: [{{source: procedural}}]\ncrop: 64x64\nrender_size: 64x64\nbatch: 2\n"
        f"steps: 3\nseed: 1\nlosses:\n{terms}optimizer: {{name: adam, lr: 1e-3}}\nworkers: 0\n"
        "validate: {every: 3, data: 'procedural:1,size=64x64'}\n"
    )
    network = load_network(train(load_recipe(recipe), tmp_path / "run"))
    assert np.isfinite(float(network(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)).abs().mean()))
