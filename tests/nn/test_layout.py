"""Values and gradients stay; where they lie in memory is the point."""

import torch

from leadline.nn.layout import plane_by_plane


def test_gradients_come_back_in_the_layout_that_the_input_had():
    seen = []
    for form in (torch.channels_last, torch.contiguous_format):
        x = torch.randn(2, 3, 4, 5).contiguous(memory_format=form).requires_grad_()
        y = plane_by_plane(x)
        assert y.is_contiguous()
        assert torch.equal(y, x)
        (gradient,) = torch.autograd.grad((y * torch.arange(5.0)).sum(), x)
        assert gradient.is_contiguous(memory_format=form)
        seen.append(gradient)
    assert torch.equal(*seen)
    assert torch.equal(seen[0], torch.arange(5.0).expand(2, 3, 4, 5))


def test_nothing_is_moved_where_no_gradient_is_wanted():
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert plane_by_plane(x) is x
    with torch.no_grad():
        x.requires_grad_()
        assert plane_by_plane(x) is x
