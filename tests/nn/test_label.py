from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from atgnn.nn.label import LabelGraphStage, LabelLabelBlock, PatchLabelBlock

HALF_MAX = 65504


class OddChannels(nn.Module):
    """Stands for φ: keeps the differences of interleave[label, difference]."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 1::2]


class Skip(nn.Module):
    def forward(self, x: Tensor, num_clips: int) -> Tensor:
        return x


def test_labels_gather_label_minus_patch_by_hand() -> None:
    block = PatchLabelBlock(4, k=2).eval()
    block.conv.nn, block.feed_forward = OddChannels(), Skip()
    labels = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]])
    patches = torch.tensor([[2.0, 1, 0, 0], [3, -1, 5, 0], [1, 4, 0, 0], [0, 2, 0, -6]])
    out, neighbors = block(labels, patches, num_clips=1)
    # cosines of label 0: 0.89, 0.51, 0.24, 0; of label 1: 0.45, −0.17, 0.97, 0.32
    assert neighbors.index.tolist() == [[0, 1], [2, 0]]
    # label + max_j (label − patch_j) = 2·label − min_j patch_j
    assert out.tolist() == [[2 - 2, 1, 0, 0], [-1, 2 - 1, 0, 0]]


def test_labels_gather_from_their_own_clip() -> None:
    block = PatchLabelBlock(8, k=3).eval()
    labels, patches = torch.randn(2, 5, 8), torch.randn(2, 20, 8)
    together, neighbors = block(labels.flatten(0, 1), patches.flatten(0, 1), num_clips=2)
    alone = [block(a, b, num_clips=1) for a, b in zip(labels, patches, strict=True)]
    torch.testing.assert_close(together, torch.cat([out for out, _ in alone]))
    assert torch.equal(neighbors.index, torch.cat([alone[0][1].index, alone[1][1].index + 20]))


def test_permuting_labels_and_patches_permutes_labels() -> None:
    block = PatchLabelBlock(8, k=3).eval()
    labels, patches, order = torch.randn(6, 8), torch.randn(20, 8), torch.randperm(6)
    out = block(labels, patches, 1)[0]
    torch.testing.assert_close(block(labels[order], patches[torch.randperm(20)], 1)[0], out[order])


def test_fewer_patches_than_k_are_enough() -> None:
    out, neighbors = PatchLabelBlock(8, k=9).eval()(torch.randn(10, 8), torch.randn(2, 8), num_clips=2)
    assert out.shape == (10, 8)
    assert neighbors.index.shape == (10, 1)


def published(labels: Tensor, weight: Tensor) -> Tensor:
    return torch.stack([weight @ clip + clip for clip in labels])


def test_published_form_is_a_times_labels_plus_labels() -> None:
    block = LabelLabelBlock(2, bounded=False)
    with torch.no_grad():
        block.weight.copy_(torch.tensor([[0.0, 2.0], [-1.0, 0.5]]))
    assert block(torch.tensor([[1.0, 10.0], [2.0, 20.0]])).tolist() == [[5, 50], [2, 20]]
    clips = torch.randn(3, 2, 4)
    torch.testing.assert_close(block(clips.flatten(0, 1)).view(3, 2, 4), published(clips, block.weight))


def test_bounded_form_by_hand() -> None:
    block = LabelLabelBlock(2)
    with torch.no_grad():
        block.weight.copy_(torch.tensor([[3.0, -1.0], [0.0, 2.0]]))  # the largest absolute row sum is 4
    assert block(torch.tensor([[4.0], [8.0]])).tolist() == [[0.5 * (4 + 1)], [0.5 * (8 + 4)]]
    with torch.no_grad():
        block.weight.mul_(0.1)  # now it is below 1: A stays as it is
    torch.testing.assert_close(block(torch.tensor([[4.0], [8.0]])), torch.tensor([[2.2], [4.8]]))


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_bounded_form_does_not_expand_distances(scale: float) -> None:
    block = LabelLabelBlock(20)
    nn.init.normal_(block.weight, std=scale)
    a, b = torch.randn(2, 20, 4)
    for _ in range(5):
        before, (a, b) = (a - b).abs().max(), (block(a), block(b))
        assert (a - b).abs().max() <= before * (1 + 1e-6)


def test_bounded_form_stays_where_the_published_one_overflows_16_bits() -> None:
    labels = torch.linspace(-1, 2, 200 * 4).view(200, 4)
    bounded, unbounded = labels, labels
    for _ in range(24):
        blocks = LabelLabelBlock(200), LabelLabelBlock(200, bounded=False)
        for block in blocks:
            nn.init.constant_(block.weight, 200**-0.5)
        bounded, unbounded = blocks[0](bounded), blocks[1](unbounded)
    assert bounded.abs().max() <= labels.abs().max()
    assert unbounded.abs().max() > HALF_MAX


def test_label_graph_starts_within_one_over_root_s() -> None:
    weight = LabelLabelBlock(100).weight
    assert 0.099 < weight.abs().max() <= 0.1
    assert weight.mean().abs() < 0.002


def stage(**settings: object) -> LabelGraphStage:
    return LabelGraphStage(**{"in_channels": 4, "channels": 8, "num_classes": 5, "blocks": 2, "k": 3} | settings).eval()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bounded", [True, False])
def test_stage_stays_in_fp32_inside_autocast(dtype: torch.dtype, bounded: bool) -> None:
    layer, labels, patches = stage(bounded=bounded), torch.randn(10, 4), torch.randn(40, 8)
    expected, _ = layer(labels, patches, num_clips=2)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(layer(labels, patches, num_clips=2)[0], expected)
        assert layer(labels.to(dtype), patches.to(dtype), num_clips=2)[0].dtype == torch.float32


@pytest.mark.parametrize(("plg", "llg"), [(True, True), (True, False), (False, True)])
def test_stage_does_its_parts_in_turn(plg: bool, llg: bool) -> None:
    layer, labels, patches = stage(plg=plg, llg=llg), torch.randn(10, 4), torch.randn(40, 8)
    out, gathered = layer(labels, patches, num_clips=2)
    assert [neighbors.index.shape for neighbors in gathered] == [(10, 3)] * (2 * plg)
    x = layer.project(labels)
    for block in range(2):
        x = layer.gather[block](x, patches, 2)[0] if plg else x
        x = layer.support[block](x) if llg else x
    torch.testing.assert_close(out, x)


def test_first_stage_has_no_projection() -> None:
    layer = stage(in_channels=None, channels=4)
    assert isinstance(layer.project, nn.Identity)
    assert layer(torch.randn(10, 4), torch.randn(40, 4), num_clips=2)[0].shape == (10, 4)
