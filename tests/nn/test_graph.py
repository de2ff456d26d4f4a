from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from atgnn.nn import graph
from atgnn.nn.graph import Neighbors, clamp_dilation, knn, smallest

BACKENDS = ["dense", "torch_cluster"]
#: Four nodes on a line, and which of them are nearest to which, in order.
LINE = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
NEAREST = torch.tensor([[0, 1, 2, 3], [1, 0, 2, 3], [2, 1, 0, 3], [3, 2, 1, 0]])


def nodes(clips: int, number: int, channels: int = 16) -> Tensor:
    return F.normalize(torch.randn(clips * number, channels), dim=-1)


def squared_distances(x: Tensor, y: Tensor, num_clips: int = 1) -> Tensor:
    """(B, N/B, M/B), one clip and one target at a time, in double precision."""
    rows = [
        [torch.cdist(target[None], sources, compute_mode="donot_use_mm_for_euclid_dist")[0] for target in targets]
        for targets, sources in zip(x.double().chunk(num_clips), y.double().chunk(num_clips), strict=True)
    ]
    return torch.stack([torch.stack(row) for row in rows]).square()


def brute_force(x: Tensor, y: Tensor, k: int, dilation: int = 1, num_clips: int = 1) -> Tensor:
    distance = squared_distances(x, y, num_clips)
    first = torch.arange(num_clips).view(-1, 1, 1) * distance.size(2)
    return (distance.argsort(dim=-1, stable=True)[..., : k * dilation : dilation] + first).flatten(0, 1)


def assert_same_graph(found: Tensor, expected: Tensor, x: Tensor, y: Tensor, num_clips: int = 1) -> Tensor:
    """Equal sorted distances, and equal rows wherever distances are 1e-5 apart; returns these rows."""
    distance = squared_distances(x, y, num_clips)
    gaps = distance.sort(dim=-1).values.diff(dim=-1).flatten(0, 1)
    distance = distance.flatten(0, 1)
    torch.testing.assert_close(
        distance.gather(1, found % distance.size(1)), distance.gather(1, expected % distance.size(1)), atol=1e-5, rtol=0
    )
    clear = gaps.amin(dim=1) > 1e-5
    assert torch.equal(found[clear], expected[clear])
    return clear


def test_edge_index_lists_sources_over_targets() -> None:
    neighbors = Neighbors(torch.tensor([[0, 2], [3, 1], [2, 2]]), num_sources=4)
    assert neighbors.edge_index.tolist() == [[0, 2, 3, 1, 2, 2], [0, 0, 1, 1, 2, 2]]


def test_gathering_from_four_nodes() -> None:
    neighbors = Neighbors(torch.tensor([[0, 1], [3, 2]]), num_sources=4)
    x = torch.tensor([[1.0, -1.0], [2.0, -5.0], [0.0, 4.0], [-3.0, 7.0]])
    assert neighbors.gather_max(x).tolist() == [[2, -1], [0, 7]]
    assert neighbors.gather_min(x).tolist() == [[1, -5], [-3, 4]]
    assert neighbors.gather_sum(x).tolist() == [[3, -6], [-3, 11]]


@pytest.mark.parametrize("reduce", ["max", "min", "sum"])
def test_gathering_equals_reducing_all_edges(reduce: str) -> None:
    neighbors = Neighbors(torch.stack([torch.randperm(7)[:3] for _ in range(10)]), num_sources=7)
    x = torch.randn(7, 5, dtype=torch.double, requires_grad=True)
    weight = torch.randn(10, 5, dtype=torch.double)
    materialised = x[neighbors.index]
    expected = materialised.sum(1) if reduce == "sum" else getattr(materialised, f"a{reduce}")(1)
    gathered = getattr(neighbors, f"gather_{reduce}")(x)
    torch.testing.assert_close(gathered, expected)
    torch.testing.assert_close(*(torch.autograd.grad(out, x, weight)[0] for out in (gathered, expected)))


@pytest.mark.parametrize(
    ("k", "dilation", "sources", "expected"),
    [
        (9, 1, 100, (9, 1)),
        (9, 3, 27, (9, 3)),
        (9, 3, 26, (9, 2)),  # the dilation shrinks first …
        (9, 3, 9, (9, 1)),
        (9, 3, 8, (8, 1)),  # … then k
        (9, 3, 1, (1, 1)),
    ],
)
def test_short_clips_shrink_the_dilation_then_k(k: int, dilation: int, sources: int, expected: tuple[int, int]) -> None:
    assert clamp_dilation(k, dilation, sources) == expected


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("k", "dilation"), [(1, 1), (2, 1), (2, 2), (4, 1)])
def test_four_nodes_on_a_line(backend: str, k: int, dilation: int) -> None:
    neighbors = knn(LINE, LINE, k, dilation=dilation, backend=backend)
    assert torch.equal(neighbors.index, NEAREST[:, : k * dilation : dilation])
    assert neighbors.num_sources == 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [2, 3, 4, 9])
@pytest.mark.parametrize("dilation", [1, 2, 3, 50])
def test_asking_for_more_than_there_is_follows_the_rule(backend: str, k: int, dilation: int) -> None:
    allowed_k, allowed_dilation = clamp_dilation(k, dilation, 4)
    index = knn(LINE, LINE, k, dilation=dilation, backend=backend).index
    assert torch.equal(index, NEAREST[:, ::allowed_dilation][:, :allowed_k])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("clips", "targets", "sources"), [(1, 40, 40), (3, 24, 24), (3, 24, 10)])
@pytest.mark.parametrize(("k", "dilation"), [(5, 1), (3, 3)])
def test_search_equals_brute_force(backend: str, clips: int, targets: int, sources: int, k: int, dilation: int) -> None:
    x = nodes(clips, targets)
    y = x if targets == sources else nodes(clips, sources)
    index = knn(x, y, k, num_clips=clips, dilation=dilation, backend=backend).index
    clear = assert_same_graph(index, brute_force(x, y, k, dilation, clips), x, y, clips)
    assert clear.float().mean() > 0.9


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dilation", [1, 2])
def test_identical_patches_tie_at_equal_distances(backend: str, dilation: int) -> None:
    x = nodes(2, 30)
    x.view(2, 30, -1)[:, 12:] = x[0]
    index = knn(x, x, 4, num_clips=2, dilation=dilation, backend=backend).index
    assert_same_graph(index, brute_force(x, x, 4, dilation, 2), x, x, 2)


@pytest.mark.parametrize("chunk_bytes", [1, 4 * 20, 4 * 20 * 7, 4 * 20 * 30 * 2])
def test_chunks_do_not_change_the_graph(chunk_bytes: int) -> None:
    x, y = nodes(3, 30), nodes(3, 20)
    whole, chunked = (knn(x, y, 4, num_clips=3, dilation=2, chunk_bytes=n).index for n in (2**20, chunk_bytes))
    assert torch.equal(whole, chunked)


@pytest.mark.parametrize("chunk_bytes", [1, 4 * 20 * 7, 2**20])
def test_a_batched_product_finds_the_same_as_one_a_clip(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, bias = nodes(3, 30), nodes(3, 20), torch.rand(30, 20)
    expected = knn(x, y, 4, num_clips=3, bias=bias).index
    monkeypatch.setattr(graph, "by_onednn", lambda _: False)
    assert torch.equal(knn(x, y, 4, num_clips=3, bias=bias, chunk_bytes=chunk_bytes).index, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_neighbours_are_of_the_same_clip(backend: str) -> None:
    x = nodes(1, 10).repeat(3, 1)  # three equal clips: every neighbour has a twin in another clip
    index = knn(x, x, 5, num_clips=3, backend=backend).index
    assert torch.equal(index // 10, torch.arange(3).repeat_interleave(10)[:, None].expand(-1, 5))
    assert torch.equal(index[:, 0], torch.arange(30))


@pytest.mark.parametrize("lengths", [(9, 30, 17), (4, 4, 1)])
def test_ragged_batch_equals_a_loop_over_clips(lengths: tuple[int, ...]) -> None:
    x, y = ([nodes(1, n + more) for n in lengths] for more in (3, 0))
    batch_x, batch_y = (torch.arange(3).repeat_interleave(torch.tensor([len(c) for c in clips])) for clips in (x, y))
    index = knn(torch.cat(x), torch.cat(y), 3, batch_x=batch_x, batch_y=batch_y, dilation=2).index
    k, dilation = clamp_dilation(3, 2, min(lengths))
    alone = [knn(a, b, k, dilation=dilation, backend="dense").index for a, b in zip(x, y, strict=True)]
    first = [0, lengths[0], lengths[0] + lengths[1]]
    assert torch.equal(index, torch.cat([i + start for i, start in zip(alone, first, strict=True)]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_permuting_nodes_permutes_the_graph(backend: str) -> None:
    x, order = nodes(1, 25), torch.randperm(25)
    index = knn(x, x, 4, backend=backend).index
    permuted = knn(x[order], x[order], 4, backend=backend).index
    assert torch.equal(order[permuted], index[order])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_search_is_in_fp32_inside_autocast(backend: str, dtype: torch.dtype) -> None:
    # Sources so close to each other that 16-bit distances could not tell them apart.
    x, y = nodes(1, 50), nodes(1, 1) + 1e-3 * torch.randn(50, 16)
    expected = knn(x, y, 5, backend=backend).index
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(knn(x, y, 5, backend=backend).index, expected)
    halves = x.to(dtype), y.to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(knn(*halves, 5, backend=backend).index, knn(*(n.float() for n in halves), 5).index)


def test_no_gradient_flows_through_the_search() -> None:
    x = nodes(1, 10).requires_grad_()
    assert not knn(x, x, 3).index.requires_grad


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "expected k and dilation of at least 1, got k=0, dilation=1"),
        ({"dilation": 0}, "got k=2, dilation=0"),
        ({"y": torch.zeros(6, 3)}, r"expected x \(N, C\) and y \(M, C\) of one width, got \(6, 2\) and \(6, 3\)"),
        ({"x": torch.zeros(2, 3, 2)}, r"got \(2, 3, 2\)"),
        ({"num_clips": 4}, "expected nodes that 4 clips share equally, got 6 targets and 6 sources; give batch_x"),
        ({"y": torch.zeros(0, 2)}, "got 6 targets and 0 sources"),
        ({"batch_x": torch.zeros(6, dtype=torch.long)}, "expected batch_x and batch_y together"),
        (
            dict.fromkeys(("batch_x", "batch_y"), torch.zeros(6, dtype=torch.long)) | {"backend": "dense"},
            "expected clips of equal length for the dense search, got batch vectors; use backend='torch_cluster'",
        ),
        (
            {"batch_x": torch.tensor([0, 0, 0, 1, 1, 2]), "batch_y": torch.tensor([0, 0, 0, 1, 1, 1])},
            "expected at least one source in every clip, got none in clip 2",
        ),
        (
            {"batch_x": torch.tensor([0, 0, 0, 2, 2, 2]), "batch_y": torch.tensor([0, 0, 0, 2, 2, 2])},
            "got none in clip 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knn(**{"x": torch.zeros(6, 2), "y": torch.zeros(6, 2), "k": 2} | arguments)


def test_without_torch_cluster_the_dense_search_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    assert torch.equal(knn(LINE, LINE, 2).index, NEAREST[:, :2])
    with pytest.raises(ImportError, match=r"expected torch-cluster for ragged batches .*, got none installed; install"):
        knn(LINE, LINE, 2, backend="torch_cluster")


@pytest.mark.parametrize("sources", [64, 512, 520, 1000, 2048, 7001])
@pytest.mark.parametrize("k", [1, 9, 16, 25, 40])
def test_the_smallest_of_long_rows_are_those_of_a_plain_search(sources: int, k: int) -> None:
    distance = torch.rand(2, 30, sources)
    assert torch.equal(smallest(distance, k), distance.topk(k, largest=False).indices)


def test_ties_in_long_rows_give_equal_distances() -> None:
    distance = torch.randint(0, 4, (2, 50, 512)).float()
    found = distance.gather(-1, smallest(distance, 9))
    assert torch.equal(found, distance.topk(9, largest=False).values)


def test_the_gradient_of_a_maximum_goes_to_the_neighbour_that_has_it() -> None:
    x = torch.tensor([[1.0, 5.0], [3.0, 2.0], [2.0, 4.0]], requires_grad=True)
    neighbors = Neighbors(torch.tensor([[0, 1], [1, 2], [0, 2]]), 3)
    gathered = neighbors.gather_max(x)
    assert gathered.tolist() == [[3, 5], [3, 4], [2, 5]]
    gathered.backward(torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]]))
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 50], [3, 0], [4, 20]]
