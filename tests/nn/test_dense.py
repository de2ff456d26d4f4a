from __future__ import annotations

import pytest
import torch
from torch import nn

from atgnn.nn.dense import FeedForward, GroupedLinear, StochasticDepth, init_weights


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_linear_is_a_grouped_1x1_convolution(groups: int) -> None:
    linear, conv = GroupedLinear(8, 12, groups).double(), nn.Conv1d(8, 12, 1, groups=groups).double()
    with torch.no_grad():
        linear.weight.copy_(conv.weight[..., 0])
        linear.bias.copy_(conv.bias)
    x = torch.randn(5, 8, dtype=torch.double, requires_grad=True)
    ours, theirs = linear(x), conv(x.T[None])[0].T
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn(5, 12, dtype=torch.double)
    ours = torch.autograd.grad(ours, (x, linear.weight, linear.bias), weight)
    theirs = torch.autograd.grad(theirs, (x, conv.weight, conv.bias), weight)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b.view_as(a))


def test_two_groups_by_hand() -> None:
    linear = GroupedLinear(4, 2, groups=2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 10.0], [100.0, 1000.0]]))
        linear.bias.copy_(torch.tensor([0.5, 0.0]))
    assert linear(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist() == [[21.5, 4300.0]]


@pytest.mark.parametrize("widths", [(6, 8), (8, 6)])
def test_widths_that_groups_do_not_divide_are_refused(widths: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"expected widths that 4 groups divide, got {widths[0]} and {widths[1]}"):
        GroupedLinear(*widths)


def test_stochastic_depth_drops_whole_clips_and_keeps_the_expectation() -> None:
    drop, x = StochasticDepth(0.25), torch.ones(4000 * 3, 2)
    clips = drop(x, 4000).view(4000, 6)
    assert torch.equal(clips, clips[:, :1].expand_as(clips))
    assert set(clips.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert clips.mean() == pytest.approx(1, abs=4 * (0.25 / 0.75 / 4000) ** 0.5)


@pytest.mark.parametrize(("p", "training"), [(0.9, False), (0.0, True)])
def test_stochastic_depth_is_off(p: float, training: bool) -> None:
    x = torch.randn(6, 2)
    assert torch.equal(StochasticDepth(p).train(training)(x, 3), x)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0])
def test_stochastic_depth_refuses_what_is_no_probability_below_one(p: float) -> None:
    with pytest.raises(ValueError, match=f"expected a probability of at least 0 and below 1, got {p}"):
        StochasticDepth(p)


@pytest.mark.parametrize("training", [True, False])
def test_feed_forward_is_two_1x1_convolutions_on_the_map(training: bool) -> None:
    block = FeedForward(4, ratio=4).double().train(training)
    conv = (
        nn.Sequential(nn.Conv2d(4, 16, 1), nn.BatchNorm2d(16), nn.GELU(), nn.Conv2d(16, 4, 1), nn.BatchNorm2d(4))
        .double()
        .train(training)
    )
    state = dict(zip(conv.state_dict(), block.state_dict().values(), strict=True))
    conv.load_state_dict({key: value.view_as(conv.state_dict()[key]) for key, value in state.items()})
    x = torch.randn(2, 4, 3, 5, dtype=torch.double)
    out = block(x.permute(0, 2, 3, 1).reshape(30, 4), num_clips=2)
    torch.testing.assert_close(out.view(2, 3, 5, 4).permute(0, 3, 1, 2), x + conv(x))


@pytest.mark.parametrize(
    ("layer", "fan_in"), [(nn.Linear(64, 512), 64), (nn.Conv2d(16, 128, 3), 144), (GroupedLinear(64, 512), 16)]
)
def test_weights_start_kaiming_normal_over_the_fan_in(layer: nn.Module, fan_in: int) -> None:
    nn.init.ones_(layer.bias)
    init_weights(layer)
    assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
    assert not layer.bias.any()
