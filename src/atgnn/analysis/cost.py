"""What a tagger costs: parameters, edges, time of one clip on one thread, memory that training keeps."""

from __future__ import annotations

import time
from timeit import Timer

import lightning as L
import torch
from torch import Tensor

from atgnn.analysis.measure import waveforms
from atgnn.nn.graph import Neighbors
from atgnn.nn.patch import PatchGraphBlock
from atgnn.tagging import TaggingModule


def cost(model: TaggingModule, repeats: int = 10) -> dict[str, float]:
    """Measure a model on one clip of its length.

    ``latency_ms`` is the least processor time of a forward pass on one thread, from waveform to logits;
    ``memory_mb`` what a training pass over two clips keeps for the way back, for each of them; ``edges`` those of
    all patch graphs together.

    Args:
        model: on the CPU.
        repeats: passes of which the fastest counts.
    """
    samples = round(model.clip_seconds * model.tagger.frontend.sample_rate)
    waveform = waveforms(1, samples)
    threads, training = torch.get_num_threads(), model.training
    state = torch.get_rng_state()
    torch.set_num_threads(1)
    model.eval()
    edges: list[int] = []
    graphs = [block.graph for block in model.modules() if isinstance(block, PatchGraphBlock)]
    hooks = [graph.register_forward_hook(lambda *args: edges.append(_edges(args[2]))) for graph in graphs]
    with torch.no_grad():
        model(waveform)
        for hook in hooks:
            hook.remove()
        seconds = min(Timer(lambda: model(waveform), timer=time.process_time).repeat(repeats, number=1))
    memory = _kept(model, waveform.expand(2, -1)) / 2
    model.train(training)
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
    return {
        "parameters": float(sum(p.numel() for p in model.parameters() if p.requires_grad)),
        "edges": float(sum(edges)),
        "latency_ms": 1000 * seconds,
        "memory_mb": memory / 1e6,
    }


def _edges(graph: Neighbors | Tensor) -> int:
    return graph.index.numel() if isinstance(graph, Neighbors) else graph.size(1)


def _kept(model: TaggingModule, waveform: Tensor) -> int:
    """Bytes of the tensors that autograd keeps of a training pass, each storage once, parameters not counted."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}
    kept: list[Tensor] = []  # alive until all are counted, so that no address comes twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept.append(tensor)
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        model(waveform.clone())
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])  # BatchNorm has counted the pass
    return sum(sizes.values())


class Cost(L.Callback):
    """Log what the model costs after a test: ``test/cost/latency_ms`` and so on."""

    def on_test_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Measure and log."""
        if isinstance(module, TaggingModule):
            log_measures(module, cost(module), "test/cost")


def log_measures(module: L.LightningModule, measures: dict[str, float], prefix: str) -> None:
    """Log measures under a common prefix."""
    module.log_dict({f"{prefix}/{name}": value for name, value in measures.items()}, batch_size=1)
