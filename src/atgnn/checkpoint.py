"""Whole models from and to files: Lightning checkpoints, and safetensors with the settings in their header."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import lightning as L
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from atgnn.errors import InputError
from atgnn.module import ATGNN

#: The bundled network, trained on data/mini.
BUNDLED = Path(__file__).parent / "pretrained" / "mini.safetensors"


def load_model(path: str | Path | None = None) -> ATGNN:
    """Load a trained ATGNN in eval mode, on the CPU.

    Args:
        path: a Lightning checkpoint (.ckpt) or a file of :func:`pack`; the bundled network where None.

    Raises:
        InputError: if the file is absent, damaged, or not of an ATGNN.
    """
    path = Path(path) if path is not None else BUNDLED
    if path.suffix == ".safetensors":
        settings, state = _read_safetensors(path)
    else:
        checkpoint = load_checkpoint(path)
        settings, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    try:
        model = ATGNN(**{name: value for name, value in settings.items() if not name.startswith("_")})
        model.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"expected an ATGNN checkpoint, got {path}, which does not fit one: {reason}") from error
    return model.eval()


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a Lightning checkpoint of a tagger as tensors and plain values; nothing in it is run.

    Raises:
        InputError: if the file is absent, damaged, or not of a tagger.
    """
    if not Path(path).is_file():
        raise InputError(f"expected a checkpoint at {path}, got no such file; `atgnn fit` writes one")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise InputError(_not_ours(path)) from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "hyper_parameters", "atgnn"} <= checkpoint.keys():
        raise InputError(_not_ours(path))
    return checkpoint


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise InputError(f"expected a checkpoint at {path}, got no such file; `atgnn weights pack` writes one")
    try:
        with safe_open(path, framework="pt") as file:
            settings = json.loads((file.metadata() or {})["atgnn"])
            return settings, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
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
    save_model(load_model(checkpoint), out)


def save_model(model: ATGNN, path: Path) -> None:
    """Write a model without its optimiser: as safetensors with the settings in their header, or as a .ckpt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    if path.suffix == ".safetensors":
        settings = {name: value for name, value in model.hparams.items() if not name.startswith("_")}
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(state, temporary, metadata={"atgnn": json.dumps(settings), "format": "pt"})
    else:
        checkpoint = {
            "pytorch-lightning_version": L.__version__,
            "state_dict": model.state_dict(),
            "hyper_parameters": dict(model.hparams),
        }
        model.on_save_checkpoint(checkpoint)
        torch.save(checkpoint, temporary)
    temporary.replace(path)
