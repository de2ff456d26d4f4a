"""Published weights: networks from state dicts in the layout of the published ATGNN code, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from atgnn.errors import InputError
from atgnn.network import ATGNNNetwork
from atgnn.variants import Variant

CONVS = {"max_relative": "MaxRelativeConv", "edge": "EdgeConv", "gin": "GINConv", "sage": "SAGEConv"}
#: Published name → ours, for what follows the name of a block or stage.
PARTS = {
    "0.fc1": "before",
    "0.fc2": "after",
    "0.graph_conv.gconv": "conv",
    "0.relative_pos": "graph.table",
    "1.fc1": "feed_forward.expand",
    "1.fc2": "feed_forward.project",
    "plg": "gather.{}.conv",
    "ffn.fc1": "gather.{}.feed_forward.expand",
    "ffn.fc2": "gather.{}.feed_forward.project",
    "adj": "support.{}.weight",
}


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
    if conv not in CONVS:
        raise InputError(f"expected a convolution of {', '.join(CONVS)}; got {conv!r}")
    missing = [key for key in ("pos_embed", "prediction.0.weight", "prediction.4.weight") if key not in state_dict]
    if missing or not any(key.startswith("backbone.") for key in state_dict):
        raise InputError(f"expected published ATGNN weights, got none of {', '.join(missing or ['backbone.*'])}")
    height, width = state_dict["pos_embed"].shape[-2:]
    size = _variant(state_dict)
    stride = 4 if size.kind == "pyramid" else 16
    mlg = "label_embed" in state_dict
    network = ATGNNNetwork(
        state_dict["prediction.4.weight"].size(0),
        size,
        n_mels=stride * height,
        n_frames=stride * width,
        k=k,
        label_k=label_k,
        plg=mlg,
        llg=mlg,
        bounded=False,
        tables=any(key.endswith("relative_pos") for key in state_dict),
        conv={"class_path": f"atgnn.nn.{CONVS[conv]}"},
    )
    own, ours, wrong = network.state_dict(), {}, []
    names = _names(state_dict)
    for published, value in state_dict.items():
        name = names.get(published)
        if name not in own:
            wrong.append(f"{published} is unknown")
            continue
        value = value[0, :, :, 0].T if published == "label_embed" else value
        if value.squeeze().shape != own[name].squeeze().shape:
            wrong.append(f"{published} is {tuple(value.shape)}, not {tuple(own[name].shape)}")
            continue
        ours[name] = value.reshape(own[name].shape)
    wrong += [f"{name} is missing" for name in own if name not in names.values()]
    if wrong:
        raise InputError(f"expected published ATGNN weights, got some in which {'; '.join(wrong)}")
    network.load_state_dict(ours)
    return network.eval()


def published_state_dict(network: ATGNNNetwork) -> dict[str, Tensor]:
    """Weights of a network under their published names and shapes; the inverse of :func:`network_from_published`."""
    state, published = network.state_dict(), {}
    for name, value in state.items():
        key = _published_name(name, [len(stage) for stage in network.stages])  # type: ignore[arg-type]
        if name == "label_embedding":
            value = value.T[None, :, :, None]
        elif name.endswith("graph.table"):
            value = value.unsqueeze(0)
        elif value.dim() == 2 and not key.endswith((".adj", "label_readout")):
            value = value[:, :, None, None]
        published[key] = value.clone()
    return published


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


def _names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Our name of every published one that there can be."""
    stage, block, places = 0, 0, {}
    for number in range(_count(state, r"backbone\.(\d+)\.")):
        if f"backbone.{number}.conv.0.weight" in state:
            places[number] = f"downsamples.{stage}"
            stage, block = stage + 1, 0
        else:
            places[number] = f"stages.{stage}.{block}"
            block += 1
    return {key: _our_name(key, places) for key in state}


def _our_name(key: str, places: dict[int, str]) -> str:
    for before, after in (("stem.convs.", "stem."), ("prediction.", "head."), ("pos_embed", "position.weight")):
        if key.startswith(before):
            return after + key.removeprefix(before)
    if match := re.match(r"backbone\.(\d+)\.(.*)", key):
        return f"{places[int(match[1])]}.{_part(match[2].removeprefix('conv.'))}"
    if match := re.match(r"label_proj\.(\d+)\.(.*)", key):
        return f"label_stages.{match[1]}.project.{match[2]}"
    if match := re.match(r"mlg_stages\.(\d+)\.(\d+)\.(.*)", key):
        return f"label_stages.{match[1]}.{_part(match[3]).format(match[2])}"
    return {"label_embed": "label_embedding"}.get(key, key)


def _part(rest: str) -> str:
    for before, after in PARTS.items():
        if rest == before or rest.startswith(before + "."):
            return after + rest.removeprefix(before)
    return rest


def _published_name(name: str, blocks: list[int]) -> str:
    for after, before in (("stem.", "stem.convs."), ("head.", "prediction."), ("position.weight", "pos_embed")):
        if name.startswith(after):
            return before + name.removeprefix(after)
    if match := re.match(r"downsamples\.(\d+)\.(.*)", name):
        return f"backbone.{sum(blocks[: int(match[1]) + 1]) + int(match[1])}.conv.{match[2]}"
    if match := re.match(r"stages\.(\d+)\.(\d+)\.(.*)", name):
        number = sum(blocks[: int(match[1])]) + int(match[1]) + int(match[2])
        return f"backbone.{number}.{_published_part(match[3])}"
    if match := re.match(r"label_stages\.(\d+)\.project\.(.*)", name):
        return f"label_proj.{match[1]}.{match[2]}"
    if match := re.match(r"label_stages\.(\d+)\.(gather|support)\.(\d+)\.(.*)", name):
        return f"mlg_stages.{match[1]}.{match[3]}.{_published_part(f'{match[2]}.{{}}.{match[4]}')}"
    return {"label_embedding": "label_embed"}.get(name, name)


def _published_part(rest: str) -> str:
    for before, after in PARTS.items():
        if rest == after or rest.startswith(after + "."):
            return before + rest.removeprefix(after)
    return rest
