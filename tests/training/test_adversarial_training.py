from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import leadline
from leadline.data.batch import TripletBatch
from leadline.errors import UserError
from leadline.models import Task
from leadline.training.adversarial import Adversary
from leadline.training.recipe import Adversarial, check_recipe

SMALL = {"width": 8, "halvings": 2}


def recipe(steps: int = 4, **adversarial):
    return check_recipe(
        {
            "name": "small",
            "network": {"name": "plumb-frame", "steps": [1, 1, 1, 1, 1]},
            "data": [{"source": "procedural", "scenes": {"photometric": 0, "max_objects": 4}}],
            "crop": [32, 32],
            "batch": 2,
            "steps": steps,
            "losses": [{"name": "laplacian", "levels": 4}, {"name": "l1"}],
            "adversarial": {**SMALL, **adversarial},
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "workers": 0,
            "accelerator": "cpu",
            "log": {"every": 1, "images_every": 0},
        }
    )


def triplets(count: int = 2) -> TripletBatch:
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(3, count, 3, 32, 32, generator=generator)
    everywhere = torch.ones(count, 1, 32, 32, dtype=torch.bool)
    return TripletBatch(
        *frames, torch.full((count, 1, 1, 1), 0.5), everywhere, torch.zeros(count, 4, 32, 32), everywhere
    )


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "last.ckpt", weights_only=True)


def test_an_interrupted_run_ends_with_the_same_weights_of_both(tmp_path):
    whole = leadline.train(recipe(), tmp_path / "whole")
    leadline.train(recipe(), tmp_path / "parts", stop_after=2)
    parts = leadline.train(recipe(), tmp_path / "parts")
    one, two = load_file(whole), load_file(parts)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not any("adversary" in key for key in one)  # what ships is the network alone
    one, two = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts")
    judged = [key for key in one["state_dict"] if key.startswith("adversary.")]
    assert judged
    assert all(torch.equal(one["state_dict"][key], two["state_dict"][key]) for key in judged)
    moments = [state["adversary"]["state"][0]["exp_avg"] for state in (one, two)]
    assert torch.equal(*moments)
    assert moments[0].abs().max() > 0


def test_the_discriminator_learns_and_the_board_shows_it(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    leadline.train(recipe(start=2), tmp_path)
    board = EventAccumulator(str(tmp_path))
    board.Reload()
    tags = ("adversarial", "adversarial_scale", "discriminator", "discriminator_right")
    for tag in tags:
        assert [event.step for event in board.Scalars(f"train/{tag}")] == [3, 4]  # from step 2 on, counted from 0


def test_a_discriminator_tells_noise_from_a_constant_and_says_how_to_fool_it():
    torch.manual_seed(0)
    options = Adversarial(**SMALL, lr=2e-3, spectral=False, condition=False, balance=False, weight=1.0)
    adversary = Adversary(options, Task.INTERPOLATION)
    batch = triplets()
    flat = batch.frame.mean((2, 3), keepdim=True).expand_as(batch.frame)
    for step in range(40):
        shares = adversary.learn(flat, batch, step)
    assert shares["discriminator_right"] > 0.9
    assert not any(parameter.requires_grad for parameter in adversary.discriminator.parameters())
    prediction = flat.clone().requires_grad_()
    term, _ = adversary.term(prediction, batch, prediction.sum(), 40)
    term.backward()
    assert all(parameter.grad is None for parameter in adversary.discriminator.parameters())
    better, _ = adversary.term(prediction - 0.05 * prediction.grad.sign(), batch, prediction.sum(), 40)
    assert better < term


@pytest.mark.parametrize("weight", [0.1, 0.5])
def test_balance_makes_the_gradient_a_share_of_the_other_losses(weight):
    torch.manual_seed(0)
    batch = triplets()
    adversary = Adversary(Adversarial(**SMALL, weight=weight), Task.INTERPOLATION)
    prediction = torch.rand_like(batch.frame).requires_grad_()
    supervised = 1000 * (prediction - batch.frame).square().mean()
    (theirs,) = torch.autograd.grad(supervised, prediction, retain_graph=True)
    term, _ = adversary.term(prediction, batch, supervised, 0)
    (ours,) = torch.autograd.grad(term, prediction)
    assert (ours.norm() / theirs.norm()).item() == pytest.approx(weight, rel=1e-3)
    plain = Adversary(Adversarial(**SMALL, weight=weight, balance=False, warmup=10), Task.INTERPOLATION)
    scales = [plain.term(prediction, batch, supervised, step)[1]["adversarial_scale"] for step in (0, 4, 9, 50)]
    assert [float(scale) for scale in scales] == pytest.approx([weight / 10, weight / 2, weight, weight])


def test_every_and_rest():
    batch = triplets()
    fake = torch.zeros_like(batch.frame)

    def moves(step, **options):
        torch.manual_seed(0)
        adversary = Adversary(Adversarial(**SMALL, spectral=False, **options), Task.INTERPOLATION)
        before = [p.clone() for p in adversary.discriminator.parameters()]
        adversary.learn(fake, batch, step)
        return any(not torch.equal(*pair) for pair in zip(before, adversary.discriminator.parameters(), strict=True))

    assert moves(0)
    assert moves(2, every=2)
    assert not moves(1, every=2)
    torch.manual_seed(0)
    adversary = Adversary(Adversarial(**SMALL, rest=0.6, lr=2e-3), Task.INTERPOLATION)
    right = [float(adversary.learn(fake, batch, step)["discriminator_right"]) for step in range(30)]
    assert max(right) > 0.6  # it got there, and rested


@pytest.mark.parametrize("loss", ["non_saturating", "least_squares", "hinge", "wasserstein"])
def test_every_loss_and_the_penalty(loss):
    batch = triplets()
    adversary = Adversary(Adversarial(**SMALL, loss=loss, penalty=1.0, condition=False), Task.INTERPOLATION)
    shares = adversary.learn(torch.rand_like(batch.frame), batch, 0)
    assert all(torch.isfinite(value) for value in shares.values())


def test_where_there_is_no_truth_there_is_nothing_to_tell():
    batch = triplets()
    batch.valid[:] = False
    adversary = Adversary(Adversarial(**SMALL), Task.INTERPOLATION)
    fake, real = adversary._pair(torch.rand_like(batch.frame), batch)
    assert torch.equal(fake, real)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"weight": 0}, "adversarial.weight"),
        ({"loss": "hinges"}, "adversarial.loss"),
        ({"rest": 0.4}, "adversarial.rest"),
        ({"wieght": 1}, "did you mean 'adversarial.weight'"),
    ],
)
def test_mistakes_in_the_recipe(options, reason):
    with pytest.raises(UserError, match=reason):
        recipe(**options)
