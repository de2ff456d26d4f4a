"""Published weights: networks from state dicts in the layout of the published ATGNN code, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from torch import Tensor, nn

from atgnn.errors import InputError
from atgnn.network import ATGNNNetwork
from atgnn.variants import VARIANTS, Variant

CONVS = {"max_relative": "MaxRelativeConv", "edge": "EdgeConv", "gin": "GINConv", "sage": "SAGEConv"}
#: Our name → published name, of whole tensors or of what their names begin with.
PARTS = (
    (r"stem\.", "stem.convs."),
    (r"head\.", "prediction."),
    (r"position\.weight$", "pos_embed"),
    (r"label_embedding$", "label_embed"),
    (r"label_stages\.(\d+)\.project\.", r"label_proj.\1."),
    (r"label_stages\.(\d+)\.gather\.(\d+)\.conv\.", r"mlg_stages.\1.\2.plg."),
    (r"label_stages\.(\d+)\.gather\.(\d+)\.feed_forward\.expand\.", r"mlg_stages.\1.\2.ffn.fc1."),
    (r"label_stages\.(\d+)\.gather\.(\d+)\.feed_forward\.project\.", r"mlg_stages.\1.\2.ffn.fc2."),
    (r"label_stages\.(\d+)\.support\.(\d+)\.weight$", r"mlg_stages.\1.\2.adj"),
)
#: The same inside a PGN block.
BLOCK_PARTS = (
    (r"before\.", "0.fc1."),
    (r"after\.", "0.fc2."),
    (r"conv\.", "0.graph_conv.gconv."),
    (r"graph\.table$", "0.relative_pos"),
    (r"feed_forward\.expand\.", "1.fc1."),
    (r"feed_forward\.project\.", "1.fc2."),
)


def network_from_published(
    state_dict: Mapping[str, Tensor], *, conv: str = "max_relative", k: int = 9, label_k: int = 9
) -> ATGNNNetwork:
    """Build the network that published weights belong to, with these weights.

    Sizes, labels, grid, reductions and MLG are read from names and shapes; convolution and k leave no trace there.

    Args:
        state_dict: weights under their published names.
        conv: max_relative, edge, gin or sage.
        k: neighbours of each patch; the first block's of an isotropic network.
        label_k: patches that each label gathers from.

    Returns:
        The network, in eval mode.

    Raises:
        InputError: with the list of what is missing, unknown or of another shape.
    """
    network = ATGNNNetwork(**published_settings(state_dict, conv=conv, k=k, label_k=label_k))
    own, ours = network.state_dict(), our_state_dict(state_dict, network)
    published = published_names(network)
    wrong = [f"{published[name]} is missing" for name in own if name not in ours]
    wrong += [f"{key} is unknown" for key in ours if key not in own]
    wrong += [
        f"{published[name]} is {tuple(value.shape)}, not {tuple(own[name].shape)}"
        for name, value in ours.items()
        if name in own and value.shape != own[name].shape
    ]
    if wrong:
        raise InputError(f"expected published ATGNN weights, got some in which {'; '.join(wrong)}")
    network.load_state_dict(ours)
    return network.eval()


def published_settings(
    state_dict: Mapping[str, Tensor], *, conv: str = "max_relative", k: int = 9, label_k: int = 9
) -> dict[str, Any]:
    """Arguments of the :class:`~atgnn.network.ATGNNNetwork` that published weights belong to.

    Raises:
        InputError: if they are none of an ATGNN.
    """
    if conv not in CONVS:
        raise InputError(f"expected a convolution of {', '.join(CONVS)}; got {conv!r}")
    missing = [key for key in ("pos_embed", "prediction.0.weight", "prediction.4.weight") if key not in state_dict]
    if missing or not any(key.startswith("backbone.") for key in state_dict):
        raise InputError(f"expected published ATGNN weights, got none of {', '.join(missing or ['backbone.*'])}")
    size = _variant(state_dict)
    stride = 4 if size.kind == "pyramid" else 16
    height, width = state_dict["pos_embed"].shape[-2:]
    mlg = "label_embed" in state_dict
    return {
        "num_classes": state_dict["prediction.4.weight"].size(0),
        "variant": next((name for name, known in VARIANTS.items() if known == size), size),
        "n_mels": stride * height,
        "n_frames": stride * width,
        "k": k,
        "label_k": label_k,
        "plg": mlg,
        "llg": mlg,
        "bounded": False,
        "tables": any(key.endswith("relative_pos") for key in state_dict),
        "conv": {"class_path": f"atgnn.nn.{CONVS[conv]}"},
    }


def our_state_dict(state_dict: Mapping[str, Tensor], network: ATGNNNetwork) -> dict[str, Tensor]:
    """Published weights under the names and in the layout of a network; what it does not know keeps its name."""
    own = network.state_dict()
    names = {published: name for name, published in published_names(network).items()}
    ours = {}
    for key, value in state_dict.items():
        name = names.get(key, key)
        if key == "label_embed":
            value = value[0, :, :, 0].T
        elif name.endswith("graph.table"):
            value = value[0]
        elif name in own and own[name].dim() == 2 and value.dim() == 4:
            value = value[:, :, 0, 0]
        ours[name] = value
    return ours


def published_state_dict(network: ATGNNNetwork) -> dict[str, Tensor]:
    """Weights of a network under their published names and shapes; the inverse of :func:`network_from_published`."""
    published = {}
    names = published_names(network)
    for name, value in network.state_dict().items():
        key = names[name]
        if name == "label_embedding":
            value = value.T[None, :, :, None]
        elif name.endswith("graph.table"):
            value = value.unsqueeze(0)
        elif value.dim() == 2 and not key.endswith((".adj", "label_readout")):
            value = value[:, :, None, None]
        published[key] = value.clone()
    return published


def published_names(network: ATGNNNetwork) -> dict[str, str]:
    """The published name of every tensor of a network, by its own."""
    # The published backbone counts PGN blocks and downsampling through all stages.
    numbers, count = {}, 0
    for stage, blocks in enumerate(cast(Iterable[nn.ModuleList], network.stages)):
        if stage:
            numbers[f"downsamples.{stage - 1}"] = count
            count += 1
        for block in range(len(blocks)):
            numbers[f"stages.{stage}.{block}"] = count
            count += 1
    names = {}
    for name in network.state_dict():
        place = re.match(r"(downsamples\.\d+|stages\.\d+\.\d+)\.(.*)", name)
        if not place:
            names[name] = _renamed(name, PARTS)
        elif place[1].startswith("downsamples"):
            names[name] = f"backbone.{numbers[place[1]]}.conv.{place[2]}"
        else:
            names[name] = f"backbone.{numbers[place[1]]}.{_renamed(place[2], BLOCK_PARTS)}"
    return names


def _renamed(name: str, parts: tuple[tuple[str, str], ...]) -> str:
    return next((re.sub(f"^{ours}", theirs, name) for ours, theirs in parts if re.match(ours, name)), name)


def _variant(state: Mapping[str, Tensor]) -> Variant:
    blocks, channels = [0], [state["pos_embed"].size(1)]
    first_blocks = [0]
    for number in range(_count(state, r"backbone\.(\d+)\.")):
        if f"backbone.{number}.conv.0.weight" in state:
            blocks.append(0)
            channels.append(state[f"backbone.{number}.conv.0.weight"].size(0))
            first_blocks.append(number + 1)
        else:
            blocks[-1] += 1
    mlg = [_count(state, rf"mlg_stages\.{stage}\.(\d+)\.") for stage in range(_count(state, r"mlg_stages\.(\d+)\."))]
    tables = [state.get(f"backbone.{number}.0.relative_pos") for number in first_blocks]
    reductions = [1 if t is None else round((t.size(-2) / t.size(-1)) ** 0.5) for t in tables]
    kind: Literal["pyramid", "isotropic"] = "pyramid" if len(blocks) > 1 else "isotropic"
    head = state["prediction.0.weight"].size(0)
    return Variant(kind, tuple(channels), tuple(blocks), tuple(mlg), tuple(reductions), head)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return max((int(m[1]) + 1 for m in (re.match(pattern, key) for key in state) if m), default=0)
