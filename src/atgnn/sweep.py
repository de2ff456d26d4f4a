"""`atgnn sweep`: run a W&B sweep file on this machine, without a server, each run once and its scores kept."""

from __future__ import annotations

import itertools
import json
import math
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from atgnn.data.parallel import in_parallel
from atgnn.errors import InputError
from atgnn.pages import replace_between

Settings = dict[str, Any]
FAST = (
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=2",
)


@dataclass(frozen=True)
class Run:
    """One command of a sweep.

    Args:
        settings: what this run varies, by option.
        args: the whole command line, without the program.
        scores: where its scores go.
        log: where it writes what it would print.
    """

    settings: Settings
    args: list[str]
    scores: Path
    log: Path

    def __call__(self) -> str | None:
        """Run it; returns what went wrong, or None."""
        import torch

        from atgnn.cli import main

        torch.set_num_threads(1)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("w") as log, redirect_stdout(log), redirect_stderr(log):
            try:
                failed = main(self.args)
            except (Exception, SystemExit):  # jsonargparse exits where an option does not fit
                traceback.print_exc(file=log)
                failed = True
        return f"{self.scores.stem}: see {self.log}" if failed else None


def sweep(
    files: list[Path], *, out: Path | None = None, jobs: int = 1, engine: str | None = None, fast: bool = False
) -> str:
    """Run the runs of W&B sweep files that have no scores yet; stopped at any time, it goes on from there.

    The files are those that ``wandb sweep`` takes; a grid is run whole, of a random or Bayesian one ``run_cap`` runs
    are drawn at random. Scores go to ``runs/`` beside the file, one small npz for each run, for ``atgnn compare``.

    Args:
        files: YAML files of sweeps, worked off in this order.
        out: where scores go, if not beside each file.
        jobs: runs at a time, each on one thread.
        engine: 'dask://HOST:PORT' to run on the workers of a Dask scheduler.
        fast: only see that every combination runs: a step or two, one seed, scores to runs/fast/.

    Raises:
        InputError: if the file is none of a sweep, or a run fails; the others are run nevertheless.
    """
    runs = [run for file in files for run in expand(file, out, fast=fast)]
    todo = [run for run in runs if fast or not run.scores.exists()]
    title = f"{', '.join(dict.fromkeys(file.parent.name for file in files))}: {len(todo)} of {len(runs)} runs"
    failed = [failure for failure in in_parallel(_run, todo, title, jobs=jobs, engine=engine) if failure]
    if failed:
        raise InputError(f"expected {len(todo)} runs to finish, got {len(failed)} that failed: {'; '.join(failed)}")
    folders = " ".join(dict.fromkeys(str(run.scores.parent) for run in runs))
    return f"{len(runs)} runs, {len(todo)} of them now; to compare them: atgnn compare {folders}"


def progress(files: list[Path], *, page: Path | None = None, marker: str = "runs") -> str:
    """Say which runs of sweep files have no scores yet, and write it into a page.

    Args:
        files: YAML files of sweeps.
        page: Markdown page with the lines <!-- MARKER --> and <!-- /MARKER -->.
        marker: name of these lines.
    """
    runs = [run.scores for file in files for run in expand(file)]
    missing = sorted(f"`{run.stem}`" for run in runs if not run.exists())
    text = f"All {len(runs)} runs are there."
    if missing:
        text = f"{len(runs) - len(missing)} of {len(runs)} runs are there, so that what follows is not final. Missing: "
        text += f"{', '.join(missing)}."
    if page is not None:
        replace_between(page, marker, text)
    return text


def expand(file: Path, out: Path | None = None, *, fast: bool = False) -> list[Run]:
    """The runs of a sweep file, in order.

    Raises:
        InputError: if the file is none of a sweep.
    """
    try:
        content = yaml.safe_load(file.read_text())
        method, parameters, command = content["method"], dict(content["parameters"]), list(content["command"])
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise InputError(
            f"expected a W&B sweep file with method, parameters and command in {file}: {error!r}"
        ) from None
    if "atgnn" not in command:
        raise InputError(f"expected a command of atgnn in {file}, got {command}; write [atgnn, fit, -c, …, ${{args}}]")
    if method == "grid":
        combinations = _grid(parameters)
    else:
        rng = np.random.default_rng(0)
        combinations = [
            {name: _draw(name, spec, rng) for name, spec in parameters.items()}
            for _ in range(content.get("run_cap", 10))
        ]
    if fast:
        combinations = list(
            {_name(c | {"seed_everything": 0}): c | {"seed_everything": 0} for c in combinations}.values()
        )
    name = file.parent.name if file.stem == "sweep" else f"{file.parent.name}-{file.stem}"
    scratch = Path("runs/fast" if fast else "runs") / name
    folder = scratch if fast else out or file.parent / "runs"
    return [_as_run(settings, command, folder, scratch, FAST if fast else ()) for settings in combinations]


def _as_run(settings: Settings, command: list[str], folder: Path, scratch: Path, extra: tuple[str, ...]) -> Run:
    name = _name(settings)
    varied = [
        f"--{option}={value if isinstance(value, str) else json.dumps(value)}" for option, value in settings.items()
    ]
    args: list[str] = []
    for word in command[command.index("atgnn") + 1 :]:
        args += varied if word == "${args}" else [word]
    scores = folder / f"{name}.npz"
    args += [
        *extra,
        f"--scores={scores}",
        f"--settings={json.dumps(settings)}",
        f"--trainer.logger.init_args.save_dir={scratch}",
        f"--trainer.logger.init_args.name={name}",
        "--trainer.logger.init_args.version=",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    ]
    return Run(settings, args, scores, scratch / name / "log.txt")


def _run(run: Run) -> str | None:
    return run()


def _grid(parameters: dict[str, Any]) -> list[Settings]:
    choices = [_values(name, spec) for name, spec in parameters.items()]
    return [dict(zip(parameters, values, strict=True)) for values in itertools.product(*choices)]


def _values(name: str, spec: dict[str, Any]) -> list[Any]:
    values = spec.get("values", [spec["value"]] if "value" in spec else None)
    if not values:
        raise InputError(f"expected values for {name} in a grid, got {spec}; list them, or take method: random")
    return values


def _draw(name: str, spec: dict[str, Any], rng: np.random.Generator) -> Any:
    """One value of a parameter, of the distributions of W&B that are in use here."""
    if "values" in spec or "value" in spec:
        values = _values(name, spec)
        return values[rng.integers(len(values))]
    if not {"min", "max"} <= spec.keys():
        raise InputError(f"expected values, or min and max, for {name}, got {spec}; give one of them")
    low, high = spec["min"], spec["max"]
    if spec.get("distribution") == "log_uniform_values":
        return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")
    if isinstance(low, int) and isinstance(high, int):
        return int(rng.integers(low, high + 1))
    return float(f"{rng.uniform(low, high):.3g}")


def _name(settings: Settings) -> str:
    """A file name that tells the settings: the files of --config, then option and value, then the seed."""
    parts: list[str] = []
    for option, value in settings.items():
        if option == "config":
            parts.insert(0, Path(value).stem)
        elif option != "seed_everything":
            text = value if isinstance(value, str) else json.dumps(value)
            text = text.rpartition(".")[2] if isinstance(value, str) else "".join(filter(_plain, text))
            parts.append(f"{option.rpartition('.')[2]}={text}")
    if "seed_everything" in settings:
        parts.append(f"seed{settings['seed_everything']}")
    return "_".join(parts).replace("/", "-")


def _plain(character: str) -> bool:
    return character.isalnum() or character in ".-+"
