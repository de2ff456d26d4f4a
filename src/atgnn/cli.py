"""The `atgnn` command: Lightning's fit, validate, test and predict, and one typed function for every other task."""

from __future__ import annotations

import difflib
import logging
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Callable
from pathlib import Path
from pydoc import locate
from typing import NamedTuple, cast

from docstring_parser import parse
from jsonargparse import ArgumentParser
from rich.console import Console

from atgnn.errors import InputError
from atgnn.options import Help, in_a_sentence, typed

LIGHTNING = {
    "fit": "train a tagger: -c experiments/base.yaml -c OVERLAY.yaml …",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split and write scores.npz",
    "predict": "score the clips of a split and write predictions.npz",
}


class Task(NamedTuple):
    """A typed function that is a command; ``files`` names its parameters that take several paths."""

    function: str
    help: str
    files: tuple[str, ...] = ()


TASKS = {
    "shards write": Task("atgnn.data.shards.write_shards", "pack a folder or a manifest of recordings into shards"),
    "shards mix": Task("atgnn.data.mix.mix_shards", "make polyphonic scenes of single-event clips"),
    "shards check": Task("atgnn.data.check.check_shards", "verify shards: hashes, counts, and that every clip decodes"),
    "shards stats": Task("atgnn.data.stats.shard_stats", "measure mean and std of a split's log-mels for a recipe"),
    "tag": Task("atgnn.inference.report.tag", "say which sounds are in recordings", files=("files",)),
    "explain": Task("atgnn.inference.explain_page.explain", "show why a label is heard, as a page or a picture"),
    "serve": Task("atgnn.inference.serve.serve", "open a local web page that tags and explains recordings"),
    "export": Task("atgnn.inference.export.export", "write a model as one graph, for ONNX Runtime or torch.export"),
    "score": Task(
        "atgnn.figures.score", "print average precisions, beside chance and a second model", files=("scores", "against")
    ),
    "sweep": Task(
        "atgnn.sweep.sweep", "run W&B sweep files on this machine, and keep the scores of their runs", files=("files",)
    ),
    "progress": Task("atgnn.sweep.progress", "say which runs of sweep files are missing", files=("files",)),
    "summary": Task("atgnn.analysis.summary.summary", "tell what runs measured: a table, a picture", files=("runs",)),
    "compare": Task(
        "atgnn.analysis.compare.compare", "compare runs over seeds and clips, with intervals", files=("runs",)
    ),
    "bench": Task("atgnn.analysis.bench.bench", "measure speed, memory and computation beside other networks"),
    "report": Task("atgnn.run_report.report", "write a page about a run: curves, labels, confusions"),
    "probe": Task("atgnn.baselines.probe.probe", "fit a linear probe on mean log-mels, a floor to compare with"),
    "table": Task("atgnn.pages.write_results", "write results of `atgnn score` into a page", files=("results",)),
    "weights import": Task("atgnn.transfer.import_weights", "make a checkpoint of published or ImageNet weights"),
    "weights export": Task("atgnn.transfer.export_weights", "write weights under their published names"),
    "weights pack": Task("atgnn.checkpoint.pack", "keep weights and settings of a checkpoint as safetensors"),
}


def main(args: list[str] | None = None) -> int:
    """Run a command; bad input ends with one sentence on standard error and exit code 2."""
    given, args = args, sys.argv[1:] if args is None else args
    try:
        if not args or args[0] in ("-h", "--help"):
            _help()
        elif args[0] == "--version":
            from atgnn import __version__

            Console().print(f"atgnn {__version__}", highlight=False)
        elif args[0] in LIGHTNING:
            _lightning(given)
        else:
            _task(args)
    except InputError as error:
        return _tell(str(error))
    except ArgumentError as error:
        name = next((task for task in TASKS if args[: len(task.split())] == task.split()), args[0])
        recipe = "give a recipe, -c experiments/base.yaml; " if name in LIGHTNING and "required" in str(error) else ""
        return _tell(f"{in_a_sentence(str(error))}; {recipe}`atgnn {name} --help` lists the options")
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
        return _tell(f"expected a path that can be used, got {error.filename} ({error.strerror}); correct it")
    except BrokenPipeError:
        return 1
    return 0


def _tell(error: str) -> int:
    Console(stderr=True, soft_wrap=True).print(f"atgnn: {error}", style="red", highlight=False, markup=False)
    return 2


def _help() -> None:
    console = Console()
    console.print("usage: atgnn COMMAND …      (atgnn COMMAND --help says more)\n", highlight=False, markup=False)
    for title, commands in (
        ("Training", LIGHTNING),
        ("Data and recordings", {name: task.help for name, task in TASKS.items()}),
    ):
        console.print(f"{title}:", highlight=False)
        for name, what in commands.items():
            console.print(f"  {name:<14} {what}", highlight=False, markup=False, soft_wrap=True)
        console.print()


def _lightning(args: list[str] | None) -> None:
    import lightning as L
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

    from atgnn.callbacks import keep_scores
    from atgnn.data.datamodule import ShardDataModule
    from atgnn.tagging import TaggingModule
    from atgnn.transfer import start_from

    class CLI(LightningCLI):
        """LightningCLI in which model and data agree on labels, sample rate, length of clips and protocol."""

        def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            parser.add_argument("--weights", type=Path | None, help="start from this checkpoint, whatever its labels")
            parser.add_argument("--scores", type=Path | None, help="after training, test and write the scores here")
            parser.add_argument("--settings", type=dict | None, help="what this run varies, kept with its scores")
            parser.link_arguments("data.labels", "model.init_args.labels", apply_on="instantiate")
            parser.link_arguments("model.init_args.sample_rate", "data.sample_rate")
            parser.link_arguments("model.init_args.clip_seconds", "data.crop_seconds")
            parser.link_arguments("model.init_args.protocol", "data.protocol")

        def before_instantiate_classes(self) -> None:
            trainer = self.config[self.subcommand].trainer
            if self.subcommand != "fit" and "CSVLogger" in str(trainer.logger):
                trainer.logger = False  # CSVLogger deletes the curves of the run it is given

        def before_fit(self) -> None:
            if weights := self.config.fit.weights:
                Console().print(f"Weights of {weights}:\n{start_from(self.model, weights)}", highlight=False)

        def after_fit(self) -> None:
            if scores := self.config.fit.scores:
                keep_scores(self.trainer, self.model, self.datamodule, scores, self.config.fit)

    class SaveFitConfig(SaveConfigCallback):
        """Keep the config of a training run; a test of it leaves the file alone."""

        def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
            if stage == "fit":
                super().setup(trainer, pl_module, stage)

    _quiet_lightning()
    _check_checkpoint(args if args is not None else sys.argv[1:])
    CLI(
        TaggingModule,
        ShardDataModule,
        subclass_mode_model=True,
        save_config_callback=SaveFitConfig,
        save_config_kwargs={"overwrite": True},
        parser_kwargs={"exit_on_error": False, **{name: {"exit_on_error": False} for name in LIGHTNING}},
        args=args,
    )


def _check_checkpoint(args: list[str]) -> None:
    """Look at --ckpt_path before Lightning does: it reads the model's settings from it, and fails with a traceback."""
    from atgnn.checkpoint import load_checkpoint

    for option, value in zip(args, [*args[1:], ""], strict=True):
        path = value if option == "--ckpt_path" else option.removeprefix("--ckpt_path=")
        if path != option and path not in ("best", "last", "null"):
            load_checkpoint(path)


def _quiet_lightning() -> None:
    """Leave out what Lightning says to everybody and what does not hold here."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_about_this_run)
    for message in (
        ".*IterableDataset.*has `__len__` defined.*",  # ours is configured for each worker
        ".*treespec, LeafSpec.*",
        ".*LightningCLI's args parameter.*",
        ".*smaller than the logging interval.*",
        ".*does not have many workers.*",
        ".*The dirpath has changed.*",
        ".*Total length of `list` across ranks is zero.*",  # data.val: null
        ".*WeightAveraging callback, but loading a checkpoint outside.*",  # a test reads the averaged weights alone
    ):
        warnings.filterwarnings("ignore", message=message)


def _is_about_this_run(record: logging.LogRecord) -> bool:
    return "litlogger" not in record.getMessage()


def _task(args: list[str]) -> None:
    command = next((task for task in TASKS if args[: len(task.split())] == task.split()), None)
    if command is None:
        given = " ".join(args[:2])
        near = difflib.get_close_matches(given, TASKS) or difflib.get_close_matches(args[0], [*TASKS, *LIGHTNING])
        near = near or [task for task in TASKS if task.startswith(f"{args[0]} ")]
        known = f"perhaps {' or '.join(near)}? " if near else ""
        raise InputError(f"expected a command, got {given!r}; {known}`atgnn --help` lists them")
    parser, function = task_parser(command)
    options = typed(args[len(command.split()) :], function)
    report = function(**parser.instantiate_classes(parser.parse_args(options)).as_dict())
    if report is not None:
        Console().print(str(report), highlight=False, markup=False)


def task_parser(command: str) -> tuple[ArgumentParser, Callable[..., object]]:
    """The parser of a command's options, and its function."""
    task = TASKS[command]
    function = cast(Callable[..., object], locate(task.function))
    about = (function.__doc__ or "").partition("Args:")[0].replace("``", "`")
    parser = ArgumentParser(prog=f"atgnn {command}", description=about, formatter_class=Help, exit_on_error=False)
    for number, name in enumerate(task.files):
        option = f"--{name}" if number else name
        kind = str if function.__annotations__[name] == "list[str]" else Path
        parser.add_argument(option, nargs="+", type=kind, help=_parameter_help(function, name))
    parser.add_function_arguments(function, as_group=False, as_positional=True, skip=set(task.files))
    return parser, function


def _parameter_help(function: Callable[..., object], name: str) -> str:
    return next(p.description or "" for p in parse(function.__doc__ or "").params if p.arg_name == name)


def run() -> None:
    """Entry point of the `atgnn` command."""
    sys.exit(main())
