"""Work on many shards at once, in processes here or on a cluster, with a progress bar on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from joblib import Parallel, delayed, parallel_config
from rich.console import Console
from rich.progress import track

from atgnn.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], title: str, *, jobs: int = 1, engine: str | None = None
) -> list[Result]:
    """Results of a function for each item, in order.

    Args:
        function: what to do with an item; of a module, so that other processes find it.
        items: what it is done with.
        title: shown beside the progress bar.
        jobs: processes on this machine.
        engine: 'dask://HOST:PORT' of a Dask scheduler, or 'ray' for the Ray cluster that RAY_ADDRESS names, or else one
            started here: their workers do it instead, and must see the same files.

    Raises:
        InputError: if there are no jobs or no such engine.
    """
    if jobs < 1:
        raise InputError(f"expected jobs of at least 1, got {jobs}; give a positive number")
    with _workers(jobs, engine):
        return_as = "list" if engine == "ray" else "generator"  # Ray's backend has no generator, so no progress
        results = Parallel(return_as=return_as)(delayed(function)(item) for item in items)
        return list(track(results, title, total=len(items), console=Console(stderr=True)))


@contextmanager
def _workers(jobs: int, engine: str | None) -> Iterator[None]:
    if engine is None:
        with parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
            yield
        return
    scheme, _, address = engine.partition("://")
    if engine != "ray" and (scheme != "dask" or not address):
        raise InputError(f"expected an engine like dask://HOST:PORT or ray, got '{engine}'; leave it out to work here")
    try:
        if engine == "ray":
            from ray.util.joblib import register_ray

            register_ray()
            client: AbstractContextManager[object] = nullcontext()
        else:
            from distributed import Client

            client = Client(f"tcp://{address}", timeout="5s")
    except ImportError as error:
        package = "ray" if engine == "ray" else "distributed"
        raise InputError(f"expected the package {package} for --engine {engine}, got none; pip install it") from error
    except (OSError, ValueError) as error:
        raise InputError(f"expected a Dask scheduler at '{address}', got none; start one or correct it") from error
    with client, parallel_config(scheme, n_jobs=-1):
        yield
