"""Start a model from other weights: what fits is taken, what lies on another grid is resized, and the rest is told."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from atgnn.checkpoint import load_model, save_model
from atgnn.data.labels import read_vocabulary
from atgnn.errors import InputError
from atgnn.module import ATGNN
from atgnn.network import ATGNNNetwork
from atgnn.nn.position import resize_table
from atgnn.variants import VARIANTS, Variant
from atgnn.weights import network_from_published, our_state_dict, published_settings, published_state_dict

#: Tensors that belong to the labels, and are of no use to others.
OF_LABELS = re.compile(r"head\.4\.|label_embedding|label_readout|label_stages\.\d+\.support\.")


class Transfer(NamedTuple):
    """Names of the tensors that were taken, taken at another size, left behind, and that stay as they were."""

    loaded: list[str]
    resized: list[str]
    left: list[str]
    fresh: list[str]

    def __str__(self) -> str:
        """One line for each."""
        return "\n".join(
            f"{what:<8} {len(names):>4}  {_brief(names)}" for what, names in self._asdict().items() if names
        )


def transfer(state: Mapping[str, Tensor], network: ATGNNNetwork, *, same_labels: bool) -> Transfer:
    """Copy into a network what fits it of a state dict.

    Position embeddings and tables of another grid are resized bicubically; a stem for three colours is averaged to one.

    Args:
        state: tensors under the names of :class:`~atgnn.network.ATGNNNetwork`.
        network: is changed in place.
        same_labels: whether both know the same labels in the same order; if not, what belongs to labels is left.
    """
    own = network.state_dict()
    done = Transfer([], [], [], [])
    for name, value in state.items():
        target = own.get(name)
        if target is None or (OF_LABELS.match(name) and not same_labels):
            done.left.append(name)
        elif value.shape == target.shape:
            target.copy_(value)
            done.loaded.append(name)
        elif (resized := _resized(name, value, target)) is not None:
            target.copy_(resized)
            done.resized.append(name)
        else:
            done.left.append(name)
    done.fresh.extend(own.keys() - {*done.loaded, *done.resized})
    return Transfer(*map(sorted, done))


def start_from(model: ATGNN, path: Path) -> Transfer:
    """Start a model from the weights of another, of other labels or size of crop, too.

    Args:
        model: is changed in place.
        path: checkpoint (.ckpt, .safetensors) of the other.

    Raises:
        InputError: if it is not an ATGNN, or its encoder does not fit.
    """
    other = load_model(path)
    done = transfer(other.network.state_dict(), model.network, same_labels=list(other.labels) == model.labels)
    if "stem.0.weight" not in done.loaded:
        raise InputError(
            f"expected weights of the same size, got {path}, whose encoder does not fit; set model.variant"
        )
    return done


def import_weights(
    source: Path,
    out: Path,
    *,
    labels: Path,
    imagenet: bool = False,
    conv: str = "max_relative",
    k: int = 9,
    label_k: int = 9,
    mean: float = -4.6476,
    std: float = 4.5699,
    clip_seconds: float = 10.24,
) -> str:
    """Make an ATGNN checkpoint of published weights, or of an image model's for a start.

    Sizes are read from the weights; what leaves no trace in them is asked for. The checkpoint tags with
    `atgnn tag`, and starts a training with `atgnn fit --weights`.

    Args:
        source: published weights, .pth.tar or .safetensors.
        out: checkpoint to write, .ckpt or .safetensors.
        labels: the labels in the order of the outputs: one a line, or a data set's own vocabulary.csv or
            class_labels_indices.csv.
        imagenet: the weights are a Pyramid-ViG's for images: its encoder is taken, for a new model of these labels.
        conv: convolution of the published weights: max_relative, edge, gin or sage.
        k: neighbours of each patch.
        label_k: patches that each label gathers from.
        mean: of the data set's log-mels.
        std: their standard deviation.
        clip_seconds: length of the clips that a model from an image model is made for; otherwise it is in the weights.

    Raises:
        InputError: if a file cannot be read, or with the list of what does not fit.
    """
    names = read_vocabulary(labels).labels
    state = read_published(source)
    settings = published_settings(state, conv=conv, k=k, label_k=label_k)
    if imagenet:
        with torch.device("meta"):
            ours = our_state_dict(state, ATGNNNetwork(**settings))
        size = _by_blocks(settings["variant"])
        model = ATGNN(
            names, size, clip_seconds=clip_seconds, conv=settings["conv"], k=k, label_k=label_k, mean=mean, std=std
        )
        done = transfer(
            {key: value for key, value in ours.items() if not key.startswith("head.")},
            model.network,
            same_labels=False,
        )
        report = str(done)
    else:
        network = network_from_published(state, conv=conv, k=k, label_k=label_k)
        if network.num_classes != len(names):
            raise InputError(
                f"expected the {network.num_classes} labels of the weights, got {len(names)} in {labels}; "
                "give the vocabulary they were trained with"
            )
        del settings["num_classes"]
        frames = settings.pop("n_frames")
        if isinstance(settings["variant"], Variant):
            settings["variant"] = asdict(settings["variant"])  # a checkpoint holds plain values
        model = ATGNN(names, **settings, clip_seconds=frames / 100, mean=mean, std=std)
        model.network.load_state_dict(network.state_dict())
        report = f"loaded all {len(state)} tensors"
    save_model(model, out)
    return f"{report}\nwrote {out}: {len(names)} labels, {sum(p.numel() for p in model.parameters()):,} parameters"


def export_weights(source: Path, out: Path) -> str:
    """Write the weights of a checkpoint under their published names, as safetensors.

    Args:
        source: a checkpoint of `atgnn fit` or `atgnn weights`.
        out: file to write.
    """
    state = published_state_dict(load_model(source).network)
    save_file({key: value.contiguous() for key, value in state.items()}, out)
    return f"wrote {out}: {len(state)} tensors"


def read_published(path: Path) -> dict[str, Tensor]:
    """Read a state dict of .safetensors or, as plain tensors, of .pth.tar, without what was wrapped around it.

    Raises:
        InputError: if the file is absent or holds no tensors.
    """
    if not path.is_file():
        raise InputError(f"expected published weights at {path}, got no such file; correct the path")
    try:
        if path.suffix == ".safetensors":
            state: dict[str, Any] = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise InputError(f"expected .safetensors or tensors in a .pth.tar, got {path}, which is neither") from error
    for wrapper in ("state_dict_ema", "state_dict", "model"):
        state = state.get(wrapper, state) if isinstance(state, dict) else {}
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    prefix = next((key.removesuffix("pos_embed") for key in tensors if key.endswith("pos_embed")), "")
    return {key.removeprefix(prefix): value for key, value in tensors.items()}


def _resized(name: str, value: Tensor, target: Tensor) -> Tensor | None:
    if name == "position.weight" and value.size(1) == target.size(1):
        return F.interpolate(value, size=target.shape[-2:], mode="bicubic", align_corners=False)
    if name.endswith("graph.table"):
        return resize_table(value, *target.shape)
    if name == "stem.0.weight" and value.dim() == 4 and (value.size(0), target.size(1)) == (target.size(0), 1):
        return value.mean(dim=1, keepdim=True)
    return None


def _by_blocks(size: str | Variant) -> str:
    """The name of a size; an image model has no label blocks that could tell."""
    if isinstance(size, str):
        return size
    for name, known in VARIANTS.items():
        if (known.channels, known.blocks) == (size.channels, size.blocks):
            return name
    raise InputError(f"expected weights of {', '.join(VARIANTS)}; got {size.blocks} blocks of {size.channels} channels")


def _brief(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f", … and {len(names) - most} more" if len(names) > most else "")
