"""Whole models from and to files: Lightning checkpoints, and safetensors with the settings in their header."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from pydoc import locate
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from atgnn.agreement import check_state
from atgnn.errors import InputError
from atgnn.module import ATGNN
from atgnn.tagging import TaggingModule, class_path_of

#: Numbers in tables that a checkpoint does not hold, as the mel bands: more are refused.
MAX_NUMBERS = 1 << 26
#: The bundled network, trained on data/mini.
BUNDLED = Path(__file__).parent / "pretrained" / "mini.safetensors"


def load_model(path: str | Path | None = None) -> ATGNN:
    """Load a trained ATGNN in eval mode, on the CPU.

    Args:
        path: a Lightning checkpoint (.ckpt) or a file of :func:`pack`; the bundled network where None.

    Raises:
        InputError: if the file is absent, damaged, or not of an ATGNN.
    """
    model = load_tagger(path)
    if not isinstance(model, ATGNN):
        raise InputError(
            f"expected an ATGNN checkpoint, got {path}, of {type(model).__name__}; only `atgnn tag` and "
            "training take others"
        )
    return model


def load_tagger(path: str | Path | None = None) -> TaggingModule:
    """Load a trained model of any class of this package, a baseline too, in eval mode, on the CPU.

    Args:
        path: as in :func:`load_model`.

    Raises:
        InputError: if the file is absent, damaged, or not of a model of this package.
    """
    path = Path(path) if path is not None else BUNDLED
    if path.suffix == ".safetensors":
        class_path, settings, state = _read_safetensors(path)
    else:
        checkpoint = load_checkpoint(path)
        class_path = checkpoint["atgnn"].get("class_path", class_path_of(ATGNN))
        settings, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    cls = _find_class(class_path, path)
    try:
        settings = {name: value for name, value in settings.items() if not name.startswith("_")}
        _check_settings(settings, state)
        with torch.device("meta"):  # shapes alone: a file may ask for more than any memory holds
            shape = cls(**settings)
        check_state(state, shape.state_dict())
        if sum(buffer.numel() for buffer in shape.buffers()) > MAX_NUMBERS + sum(map(torch.numel, state.values())):
            raise ValueError("its settings need more memory than its weights")
        model = cls(**settings)
        model.load_state_dict(state)
    except Exception as error:  # whatever a stranger's settings lead to
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"expected an {cls.__name__} checkpoint, got {path}, which does not fit one: {reason}"
        ) from error
    return model.eval()


def _check_settings(settings: Any, state: dict[str, Tensor]) -> None:
    """Refuse what would run code of elsewhere, or build for ever."""
    if isinstance(settings, dict):
        path = settings.get("class_path")
        if path is not None and not str(path).startswith(("atgnn.", "torch_geometric.")):
            raise ValueError(f"it names {path!r}, which is not of this package; load it by load_from_checkpoint")
        counts = [settings.get(name) for name in ("depth", "layers", "blocks", "mlg_blocks")]
        for count in (n for given in counts for n in (given if isinstance(given, list | tuple) else [given])):
            if isinstance(count, int) and count > len(state):
                raise ValueError(f"it has {count} blocks, and {len(state)} weights")
        settings = list(settings.values())
    if isinstance(settings, list | tuple):
        for value in settings:
            _check_settings(value, state)


def _find_class(class_path: object, path: Path) -> Callable[..., TaggingModule]:
    """The class that a checkpoint names, if it is one of this package: a file must not choose what else is run."""
    cls = locate(class_path) if isinstance(class_path, str) and class_path.startswith("atgnn.") else None
    if not (isinstance(cls, type) and issubclass(cls, TaggingModule) and cls is not TaggingModule):
        raise InputError(
            f"expected a model of this package in {path}, got one of class {class_path!r}; "
            "load it in Python by load_from_checkpoint of its class"
        )
    return cls


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a Lightning checkpoint of a tagger as tensors and plain values; nothing in it is run.

    Raises:
        InputError: if the file is absent, damaged, or not of a tagger.
    """
    if not Path(path).is_file():
        raise InputError(f"expected a checkpoint at {path}, got no such file; `atgnn fit` writes one")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # damaged pickles fail in every way there is
        raise InputError(_not_ours(path)) from error
    parts = ("state_dict", "hyper_parameters", "atgnn")
    if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(part), dict) for part in parts):
        raise InputError(_not_ours(path))
    return checkpoint


def _read_safetensors(path: Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise InputError(f"expected a checkpoint at {path}, got no such file; `atgnn weights pack` writes one")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            class_path, settings = metadata.get("class_path", class_path_of(ATGNN)), json.loads(metadata["atgnn"])
            return class_path, dict(settings), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(_not_ours(path)) from error


def _not_ours(path: str | Path) -> str:
    return (
        f"expected an ATGNN checkpoint, got {path}, which is not one; "
        "use a .ckpt that `atgnn fit` wrote or a .safetensors of `atgnn weights pack`"
    )


def pack(checkpoint: Path, out: Path) -> None:
    """Write the weights and settings of a checkpoint, without its optimiser, as safetensors.

    Args:
        checkpoint: a checkpoint of `atgnn fit`.
        out: safetensors file to write.
    """
    save_model(load_tagger(checkpoint), out)


def save_model(model: TaggingModule, path: Path) -> None:
    """Write a model without its optimiser: as safetensors with the settings in their header, or as a .ckpt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    if path.suffix == ".safetensors":
        settings = {name: value for name, value in model.hparams.items() if not name.startswith("_")}
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        about = {"atgnn": json.dumps(settings), "class_path": class_path_of(type(model)), "format": "pt"}
        save_file(state, temporary, metadata=about)
    else:
        checkpoint = {
            "pytorch-lightning_version": L.__version__,
            "state_dict": model.state_dict(),
            "hyper_parameters": dict(model.hparams),
        }
        model.on_save_checkpoint(checkpoint)
        torch.save(checkpoint, temporary)
    temporary.replace(path)


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoints that take their name once they are whole, so that a kill while writing leaves the one before.

    Lightning writes into the folder for temporary files first, which on most clusters is another disk: from there
    a checkpoint is copied, not moved.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write beside ``path``, make sure that it is on disk, and rename."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(f"{path}.tmp")
        with unfinished.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
