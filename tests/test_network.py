from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from atgnn.network import ATGNNNetwork, dilation_schedule, partial_class
from atgnn.nn import EdgeConv, KNNGraph, Neighbors, StochasticDepth
from atgnn.variants import VARIANTS

CONVS = ["MaxRelativeConv", "EdgeConv", "GINConv", "SAGEConv"]


def nano(**settings: Any) -> ATGNNNetwork:
    return ATGNNNetwork(**{"num_classes": 5, "variant": "pyramid-nano", "n_mels": 32, "n_frames": 64} | settings)


def log_mel(clips: int = 2, n_mels: int = 32, n_frames: int = 64) -> Tensor:
    return torch.randn(clips, 1, n_mels, n_frames)


def settled(network: ATGNNNetwork) -> ATGNNNetwork:
    """In eval mode with BatchNorm statistics of real activations, so that these stay of order 1."""
    for module in network.train().modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        network(log_mel(8))
    return network.eval()


@pytest.mark.parametrize(("mlg", "expected"), [(False, 26_835_672), (True, 35_427_112)])
def test_pyramid_s_has_the_published_number_of_parameters(mlg: bool, expected: int) -> None:
    with torch.device("meta"):
        network = ATGNNNetwork(200, "pyramid-s", n_mels=128, n_frames=1024, plg=mlg, llg=mlg)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_runs(variant: str) -> None:
    with torch.device("meta"):
        network = ATGNNNetwork(5, variant, n_mels=64, n_frames=64).eval()
    network.to_empty(device="cpu")
    with torch.no_grad():
        torch._foreach_zero_([*network.parameters(), *network.buffers()])
        out = network(log_mel(1, 64, 64))
    assert out.logits.shape == (1, 5)
    pyramid = variant.startswith("pyramid")
    assert [tuple(patches.shape[2:]) for patches in out.patches] == (
        [(16, 16), (8, 8), (4, 4), (2, 2)] if pyramid else [(4, 4)]
    )
    assert bool(network.label_stages) == pyramid


def test_isotropic_networks_have_no_label_graph() -> None:
    network = nano(variant="isotropic-nano").eval()
    out = network(log_mel(), trace=True)
    assert out.label_logits is None
    assert out.labels == ()
    assert out.gathered == ()
    assert torch.equal(out.logits, out.patch_logits)
    assert not any(block.graph.position for block in network.stages[0])


@pytest.mark.parametrize("variant", ["pyramid-nano", "isotropic-nano"])
@pytest.mark.parametrize(("n_mels", "n_frames"), [(128, 1), (128, 7), (1, 1), (32, 65), (33, 31), (40, 300)])
def test_any_duration_and_number_of_bands(variant: str, n_mels: int, n_frames: int) -> None:
    network = nano(variant=variant)
    assert network(log_mel(2, n_mels, n_frames)).logits.shape == (2, 5)
    assert network.eval()(log_mel(1, n_mels, n_frames)).logits.isfinite().all()


@pytest.mark.parametrize("variant", ["pyramid-nano", "isotropic-nano"])
@pytest.mark.parametrize("knn", ["dense", "torch_cluster"])
@pytest.mark.parametrize("conv", CONVS)
def test_batch_equals_a_loop_over_clips(variant: str, knn: str, conv: str) -> None:
    network = settled(nano(variant=variant, k=3, label_k=3, knn=knn, conv={"class_path": f"atgnn.nn.{conv}"}))
    x = log_mel(3, 32, 50)
    together, alone = network(x), [network(clip[None]) for clip in x]
    torch.testing.assert_close(together.logits, torch.cat([out.logits for out in alone]), atol=1e-5, rtol=1e-5)
    for stage, patches in enumerate(together.patches):
        torch.testing.assert_close(patches, torch.cat([out.patches[stage] for out in alone]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("conv", CONVS)
def test_fused_gives_the_same_without_any_batch_norm(conv: str) -> None:
    network = settled(nano(conv={"class_path": f"atgnn.nn.{conv}"}))
    fused = network.fuse()
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in fused.modules())
    assert any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    x = log_mel()
    torch.testing.assert_close(fused(x).logits, network(x).logits, atol=1e-4, rtol=1e-4)


def test_logits_are_the_sum_of_both_heads() -> None:
    out = settled(nano())(log_mel())
    torch.testing.assert_close(out.logits, out.patch_logits + out.label_logits)
    assert [tuple(labels.shape) for labels in out.labels] == [(2, 5, width) for width in (16, 32, 64, 96)]
    assert out.gathered is None


def test_mean_and_maximum_of_the_patches_are_pooled() -> None:
    network, x = settled(nano(pooling="mean_max", plg=False, llg=False)), log_mel()
    out = network(x)
    patches = out.patches[-1].flatten(2)
    torch.testing.assert_close(out.logits, network.head(patches.mean(2) + patches.max(2).values))
    network.pooling = "mean"
    torch.testing.assert_close(network(x).logits, network.head(patches.mean(2)))
    with pytest.raises(ValueError, match="expected a pooling of mean, mean_max; got 'max'"):
        nano(pooling="max")


def test_label_logits_read_each_label_with_its_own_vector() -> None:
    network = settled(nano())
    out = network(log_mel())
    expected = [[out.labels[-1][b, s] @ network.label_readout[s] for s in range(5)] for b in range(2)]
    torch.testing.assert_close(out.label_logits, torch.stack([torch.stack(row) for row in expected]))


def test_trace_tells_which_patches_labels_gathered_from() -> None:
    out = nano(label_k=3).eval()(log_mel(), trace=True)
    assert [len(blocks) for blocks in out.gathered] == [1, 1, 1, 1]
    for patches, (neighbors,) in zip(out.patches, out.gathered, strict=True):
        assert isinstance(neighbors, Neighbors)
        per_clip = patches.size(2) * patches.size(3)
        assert neighbors.index.shape == (2 * 5, min(3, per_clip))
        assert torch.equal(
            neighbors.index // per_clip, torch.arange(2).repeat_interleave(5)[:, None].expand_as(neighbors.index)
        )


@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize(("plg", "llg"), [(True, True), (True, False), (False, True), (False, False)])
def test_gradients_reach_every_parameter(conv: str, plg: bool, llg: bool) -> None:
    network = nano(plg=plg, llg=llg, drop_path=0.0, conv={"class_path": f"atgnn.nn.{conv}"})
    for module in network.modules():
        if isinstance(module, StochasticDepth):
            module.p = 0.0
    network(log_mel(4)).logits.square().sum().backward()
    # A bias before BatchNorm has the gradient zero, so what counts is that there is one.
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    assert [name for name, g in gradients.items() if name.endswith("weight") and not g.any()] == []


def test_depth_is_split_over_the_stages() -> None:
    network = nano(depth=10)
    assert [len(stage) for stage in network.stages] == [2, 2, 4, 2]
    drops = [block.drop_path.p for stage in network.stages for block in stage]
    assert drops == pytest.approx([0.1 * i / 9 for i in range(10)])
    assert network.eval()(log_mel()).logits.shape == (2, 5)


@pytest.mark.parametrize("training", [True, False])
def test_forward_never_waits_for_values(training: bool) -> None:
    network = nano().train(training)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert network(torch.empty(2, 1, 32, 64), trace=True).logits.shape == (2, 5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_and_labels_leave_autocast_in_fp32(dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype=dtype):
        out = settled(nano())(log_mel())
    assert {tensor.dtype for tensor in (out.logits, out.label_logits, *out.labels)} == {torch.float32}
    assert out.logits.isfinite().all()


def test_a_graph_of_ones_own_replaces_the_knn_search() -> None:
    graph = {"class_path": "atgnn.nn.KNNGraph", "init_args": {"k": 2, "position": False}}
    blocks = [block for stage in nano(graph=graph).stages for block in stage]
    assert {(block.graph.k, block.graph.dilation, block.graph.position) for block in blocks} == {(2, 1, False)}


@pytest.mark.parametrize(
    ("kind", "blocks", "k", "ks", "dilations"),
    [
        ("pyramid", 12, 9, [9] * 12, [1] * 4 + [2] * 4 + [3] * 4),
        ("pyramid", 24, 9, [9] * 24, [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 8),  # 49 // 9 = 5
        ("pyramid", 9, 60, [60] * 9, [1] * 9),
        ("isotropic", 12, 9, [9, 9, 10, 11, 12, 13, 13, 14, 15, 16, 17, 18], [1] * 4 + [2] * 4 + [3] * 4),
        ("isotropic", 5, 4, [4, 5, 6, 7, 8], [1, 1, 1, 1, 2]),
        ("isotropic", 1, 9, [9], [1]),
    ],
)
def test_neighbours_and_dilation_of_every_block(
    kind: str, blocks: int, k: int, ks: list[int], dilations: list[int]
) -> None:
    assert dilation_schedule(kind, blocks, k) == (ks, dilations)


def test_blocks_count_on_through_the_stages() -> None:
    network = nano(depth=12, k=5)
    graphs = [block.graph for stage in network.stages for block in stage]
    assert all(isinstance(graph, KNNGraph) for graph in graphs)
    assert [(graph.k, graph.dilation) for graph in graphs] == [(5, i // 4 + 1) for i in range(12)]
    assert [block.reduction for stage in network.stages for block in stage] == [4] * 2 + [2] * 2 + [1] * 8


def test_a_class_path_is_built_with_its_arguments() -> None:
    conv = partial_class({"class_path": "atgnn.nn.EdgeConv", "init_args": {"out_channels": 8}})(4)
    assert isinstance(conv, EdgeConv)
    assert isinstance(partial_class({"class_path": "atgnn.nn.EdgeConv", "init_args": None})(4, 8), EdgeConv)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"class_path": ""},
        {"class_path": "atgnn.nn.NoSuchConv"},
        {"class_path": "atgnn.nn"},
        {"class_path": "builtins.dict"},
        {"class_path": "atgnn.nn.EdgeConv", "init_arg": {}},
        "atgnn.nn.EdgeConv",
    ],
)
def test_a_class_path_that_names_no_layer_is_refused(spec: Any) -> None:
    with pytest.raises(ValueError, match=r"expected \{class_path: an importable nn.Module class, init_args: …\}, got"):
        partial_class(spec)


@pytest.mark.parametrize("shape", [(1, 32, 64), (2, 2, 32, 64), (32, 64)])
def test_a_log_mel_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a log-mel \(B, 1, F, L\), got"):
        nano()(torch.zeros(shape))


def test_a_network_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one label, got 0"):
        nano(num_classes=0)


def test_any_convolution_of_pyg_works_in_a_block() -> None:
    conv = {"class_path": "torch_geometric.nn.GATv2Conv", "init_args": {"add_self_loops": False}}
    network = ATGNNNetwork(3, "pyramid-nano", n_mels=32, n_frames=32, conv=conv)
    network(torch.randn(2, 1, 32, 32)).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_fused_in_bf16_runs_without_autocast_and_is_near() -> None:
    network = settled(nano())
    fused, x = network.fuse(torch.bfloat16), log_mel()
    assert fused.stages[0][0].before[0].weight.dtype == torch.bfloat16
    assert fused.label_stages[0].support[0].weight.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        expected = network.fuse()(x)
    out = fused(x)
    assert out.logits.dtype == torch.float32
    torch.testing.assert_close(out.patch_logits, expected.patch_logits, atol=0.05, rtol=0.05)
