"""ATGNN: the tagger of this package as a LightningModule, built from plain values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from huggingface_hub import ModelHubMixin, hf_hub_download
from torch import Tensor

from atgnn.audio.frontend import LogMel
from atgnn.network import ATGNNNetwork, ClassPath, Pooling
from atgnn.nn.graph import Backend
from atgnn.tagger import Tagger
from atgnn.tagging import TaggingModule

if TYPE_CHECKING:
    from atgnn.inference.files import Sound


class ATGNN(
    TaggingModule,
    ModelHubMixin,
    library_name="atgnn",
    pipeline_tag="audio-classification",
    license="apache-2.0",
    paper_url="https://arxiv.org/abs/2311.01526",
):
    """Audio tagging graph neural network: waveform in, logits out.

    Every argument is a plain value and is kept in the checkpoint, so ``ATGNN.load_from_checkpoint(path)`` needs nothing
    else; ``save_pretrained(folder)`` and ``from_pretrained(folder_or_repository)`` are Hugging Face's. Arguments not
    listed here are those of :class:`TaggingModule`.

    Args:
        labels: names of the S labels, in the order of the logits.
        variant: a size by name, or the values of one's own, see :mod:`atgnn.variants`.
        sample_rate: of the waveforms, in Hz.
        n_mels: F.
        f_min: lower edge of the mel bands, in Hz.
        f_max: upper edge, in Hz; half the sample rate where None.
        mean: mean of the data set's log-mels.
        std: their standard deviation.
        clip_seconds: length of the clips it is trained on, in seconds.
        short_clips: "pad" or "repeat" clips that are shorter, see :class:`atgnn.tagger.Tagger`.
        k: neighbours of each patch (PGN).
        label_k: patches that each label gathers from (PLG).
        depth: PGN blocks in all; the variant's own where None.
        plg: labels gather from patches.
        llg: labels support each other; without plg and llg there is no label graph (no MLG).
        bounded: the label graph that cannot blow up; False for the published form.
        tables: relative positions in frozen tables, as published; by default they are coordinates of the search.
        conv: graph convolution as {class_path, init_args}; max-relative where None.
        graph: graph construction as {class_path, init_args}; dilated k-NN where None.
        knn: k-NN back end: auto, dense or torch_cluster.
        dropout: dropout in the patch head.
        drop_path: stochastic depth of the last PGN block.
        residual: PGN blocks add to the patches; False for the study of over-smoothing.
        pooling: the patch head gets the mean of the patches, or mean + maximum ("mean_max"), better for short sounds.
        training: arguments of :class:`TaggingModule`.

    Shape:
        waveform: (B, T).
        lengths: (B,), in samples.
        returns: logits (B, S).

    Source: arXiv 2311.01526.
    """

    def __init__(
        self,
        labels: list[str],
        variant: str | dict[str, Any] = "pyramid-s",
        *,
        sample_rate: int = 16000,
        n_mels: int = 128,
        f_min: float = 20.0,
        f_max: float | None = None,
        mean: float = -4.6476,
        std: float = 4.5699,
        clip_seconds: float = 10.24,
        short_clips: Literal["pad", "repeat"] = "pad",
        k: int = 9,
        label_k: int = 9,
        depth: int | None = None,
        plg: bool = True,
        llg: bool = True,
        bounded: bool = True,
        tables: bool = False,
        conv: ClassPath | None = None,
        graph: ClassPath | None = None,
        knn: Backend = "auto",
        dropout: float = 0.0,
        drop_path: float = 0.1,
        residual: bool = True,
        pooling: Pooling = "mean",
        **training: Any,
    ) -> None:
        frontend = LogMel(sample_rate, n_mels, f_min, f_max, mean, std)
        network = ATGNNNetwork(
            len(labels),
            variant,
            n_mels=n_mels,
            n_frames=frontend.num_frames(round(clip_seconds * sample_rate)),
            k=k,
            label_k=label_k,
            depth=depth,
            plg=plg,
            llg=llg,
            bounded=bounded,
            tables=tables,
            conv=conv,
            graph=graph,
            knn=knn,
            dropout=dropout,
            drop_path=drop_path,
            residual=residual,
            pooling=pooling,
        )
        super().__init__(Tagger(frontend, network, short_clips), labels, clip_seconds=clip_seconds, **training)
        self.save_hyperparameters(ignore=["protocol"])  # how clips are scored is chosen anew for each test

    def embed(self, sound: Sound, sample_rate: int | None = None) -> Tensor:
        """Embed a recording of any length, as :meth:`tag` takes it: its mean patch of every stage, (C,) in all."""
        from atgnn.inference.embed import embed_sound

        return embed_sound(self.eval(), sound, sample_rate)

    def _save_pretrained(self, save_directory: Path) -> None:
        from atgnn.checkpoint import save_model

        save_model(self, save_directory / "model.safetensors")

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **_: Any,
    ) -> ATGNN:
        from atgnn.checkpoint import load_model

        if Path(model_id).is_dir():
            return load_model(Path(model_id) / "model.safetensors")
        where = {"revision": revision, "cache_dir": cache_dir, "force_download": force_download}
        where |= {"local_files_only": local_files_only, "token": token}
        return load_model(hf_hub_download(model_id, "model.safetensors", **cast(Any, where)))

    @property
    def network(self) -> ATGNNNetwork:
        """Log-mel → logits, and all that it says on the way."""
        return cast(ATGNNNetwork, self.tagger.network)
