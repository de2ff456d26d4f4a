"""Published weights give the published outputs, and go back as they came."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from atgnn.errors import InputError
from atgnn.network import ATGNNNetwork
from atgnn.nn.position import position_table
from atgnn.weights import network_from_published, published_state_dict

VECTORS = Path(__file__).parents[1] / ".." / "shared" / "vectors"
NAMES = ["isotropic_mr", "pyramid_edge", "pyramid_gin", "pyramid_mr", "pyramid_mr_mlg", "pyramid_sage"]
CONVS = {"mr": "max_relative", "edge": "edge", "gin": "gin", "sage": "sage"}

needs_vectors = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="needs ../shared/vectors, outputs of the published model"
)


def read(name: str) -> tuple[dict, dict[str, Tensor], dict[str, Tensor]]:
    """Settings, weights and outputs of one published network."""
    with safe_open(VECTORS / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        settings = json.loads(file.metadata()["config"])
    weights = {key.removeprefix("weights."): value for key, value in tensors.items() if key.startswith("weights.")}
    return settings, weights, {key: value for key, value in tensors.items() if not key.startswith("weights.")}


def network(settings: dict, weights: dict[str, Tensor]) -> ATGNNNetwork:
    return network_from_published(
        weights,
        conv=CONVS[settings["conv"]],
        k=settings.get("k") or settings["k_first"],
        label_k=settings.get("k_plg", 9),
    )


def compiled(model: ATGNNNetwork) -> ATGNNNetwork:
    torch.compiler.reset()
    return torch.compile(model, fullgraph=True)  # an error where the graph would break


@needs_vectors
@pytest.mark.parametrize(
    "form", [lambda model: model, ATGNNNetwork.fuse, pytest.param(compiled, marks=pytest.mark.slow)],
    ids=["as it is", "fused", "compiled"],
)  # fmt: skip
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_outputs_match(name: str, form: Callable[[ATGNNNetwork], ATGNNNetwork]) -> None:
    settings, weights, expected = read(name)
    output = form(network(settings, weights))(expected["input"].transpose(1, 2).unsqueeze(1))
    found = {"logits": output.logits}
    found |= {f"patches.{stage}": value for stage, value in enumerate(output.patches)}
    found |= {f"labels.{stage}": value for stage, value in enumerate(output.labels)}
    for key in expected.keys() - {"input"}:
        difference = (found[key] - expected[key]).abs() / expected[key].abs().max()
        if (name, key, form) == ("pyramid_sage", "patches.3", compiled):
            # One patch's fifth and sixth neighbours are 6e-8 apart: compiled code, which rounds otherwise, swaps them.
            difference = difference.amax(1).flatten().sort().values[:-1]
        assert difference.max() < 1e-4, f"{key} differs by {difference.max():.1e}"


@needs_vectors
@pytest.mark.parametrize("name", NAMES)
def test_a_round_trip_is_the_identity(name: str) -> None:
    settings, weights, _ = read(name)
    again = published_state_dict(network(settings, weights))
    assert again.keys() == weights.keys()
    for key, value in weights.items():
        assert torch.equal(again[key], value), key


@needs_vectors
def test_tables_are_built_as_published() -> None:
    _, weights, _ = read("pyramid_mr")
    for number, (height, width, channels, reduction) in {
        0: (16, 64, 16, 4), 2: (8, 32, 32, 2), 4: (4, 16, 48, 1), 7: (2, 8, 64, 1),
    }.items():  # fmt: skip
        table = position_table(height, width, channels, reduction)
        torch.testing.assert_close(table, weights[f"backbone.{number}.0.relative_pos"][0], atol=1e-5, rtol=0)


@needs_vectors
def test_what_does_not_fit_is_listed() -> None:
    _, weights, _ = read("pyramid_mr_mlg")
    weights["label_readout"] = weights["label_readout"][:, 1:]
    weights["extra.weight"] = torch.zeros(1)
    del weights["backbone.0.0.fc1.0.bias"]
    with pytest.raises(InputError) as error:
        network_from_published(weights)
    for part in (
        "label_readout is (10, 63), not (10, 64)",
        "extra.weight is unknown",
        "backbone.0.0.fc1.0.bias is missing",
    ):
        assert part in str(error.value)


def test_not_published_weights() -> None:
    with pytest.raises(InputError, match=r"expected published ATGNN weights, got none of pos_embed"):
        network_from_published({"x": torch.zeros(1)})
    with pytest.raises(InputError, match="expected a convolution of max_relative"):
        network_from_published({}, conv="gat")


@pytest.mark.parametrize(("mlg", "parameters"), [(False, 38_927_064), (True, 47_518_504)])
def test_parameters_with_frozen_tables(mlg: bool, parameters: int) -> None:
    with torch.device("meta"):
        built = ATGNNNetwork(200, "pyramid-s", plg=mlg, llg=mlg, tables=True)
    assert sum(p.numel() for p in built.parameters()) == parameters
    assert sum(p.numel() for p in built.parameters() if p.requires_grad) == parameters - 12_091_392
