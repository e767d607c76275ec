"""Many tensors as one block: nothing is lost, and damage is told."""

import pytest
import torch

from leadline.surgeries.bundle import BUNDLE, bundle, unbundle


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(5, 3, 3, 3, generator=generator),
        "b.weight": torch.randn(7, generator=generator).half().float(),
        "c.index": torch.randint(0, 3, (1000,), generator=generator, dtype=torch.uint8),
        "d.keep": torch.rand(4, 4, generator=generator) > 0.5,
        "e.num": torch.tensor(12345678901),
        "f.small": torch.randn(6, generator=generator).to(torch.bfloat16),
        "g.empty": torch.zeros(0, 3),
        "h.odd": torch.tensor([float("nan"), float("inf"), -0.0, 1e-40]),
        "i.half": torch.randn(3, generator=generator).half(),
        "j.bytes": torch.tensor([-128, 127], dtype=torch.int8),
    }


def test_every_bit_comes_back() -> None:
    before, after = tensors(), unbundle(bundle(tensors()))
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert after[key].dtype == value.dtype, key
        assert after[key].shape == value.shape, key
        assert value.contiguous().view(-1).view(torch.uint8).equal(
            after[key].contiguous().view(-1).view(torch.uint8)
        ) or (value.numel() == 0), key


def test_what_repeats_takes_little() -> None:
    index = torch.randint(0, 3, (40000,), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    packed = index.reshape(-1, 4) @ torch.tensor([1, 4, 16, 64], dtype=torch.uint8)
    assert bundle({"a.index": packed})[BUNDLE].numel() < 1.03 * 40000 * 1.585 / 8 + 150  # log2(3) bits each
    exact = bundle({"a.weight": torch.randn(4000).half().float()})[BUNDLE].numel()
    assert exact < 0.55 * bundle({"a.weight": torch.randn(4000)})[BUNDLE].numel()


def test_plain_tensors_pass_through() -> None:
    plain = {"a": torch.ones(2)}
    assert unbundle(plain) is plain


@pytest.mark.parametrize("place", [2, 6, 20, -5])
def test_damage_is_told(place: int) -> None:
    block = bundle(tensors())
    block[BUNDLE][place] ^= 0x55
    with pytest.raises(ValueError, match=r"damaged|checksum"):
        unbundle(block)
    with pytest.raises(ValueError, match=r"damaged|checksum"):
        unbundle({BUNDLE: bundle(tensors())[BUNDLE][:-3]})
