"""Options as people type them, with dashes and without `true`; their help, and what is wrong with them."""

from __future__ import annotations

import re
from argparse import Action
from collections.abc import Callable, Iterable

from jsonargparse import DefaultHelpFormatter

#: What jsonargparse calls them, and what to call them.
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "Path": "a path",
    "dict": "{key: value, …}",
}


def typed(args: Iterable[str], function: Callable[..., object]) -> list[str]:
    """Write --max-missing as --max_missing, and --timeline as --timeline true, which jsonargparse knows."""
    switches = {f"--{name}" for name, kind in function.__annotations__.items() if kind == "bool"}
    options: list[str] = []
    for arg in args:
        if options and options[-1] in switches and arg.lower() not in ("true", "false"):
            options.append("true")
        name, equals, value = arg.partition("=")
        dashed = name.startswith("--")
        options.append("--out" if arg == "-o" else f"--{name[2:].replace('-', '_')}{equals}{value}" if dashed else arg)
    return [*options, "true"] if options and options[-1] in switches else options


class Help(DefaultHelpFormatter):
    """Help that shows options as :func:`typed` takes them, and defaults instead of Python's types."""

    def _expand_help(self, action: Action) -> str:
        text = super()._expand_help(action)
        kind = re.search(r" \((?:required, )?type: .*?(?:, default: (?P<default>.*))?\)$", text, re.S)
        if kind is None:
            return text
        note = f"default: {kind['default']}" if kind["default"] not in (None, "null") else "required" * action.required
        return text[: kind.start()] + f" ({note})" * bool(note and action.option_strings)

    def format_help(self) -> str:
        """Say --max-missing for --max_missing."""
        return re.sub(r"--[a-z_]+", lambda option: option[0].replace("_", "-"), super().format_help())


def in_a_sentence(error: str) -> str:
    """What jsonargparse says of an option over several lines, in one that is about the option."""
    key = ".".join(re.findall(r'Parser key "(.+?)":', error))
    unknown = re.search(r"Option '(.+?)' is not accepted", error)
    kinds = [
        kind for kind in re.findall(r"Expected an? (.+?)(?:\. Got value: .*)?$", error, re.M) if "None" not in kind
    ]
    got = re.search(r"(?:Got|Given) value: (.*)", error)
    if key and unknown:
        return f"expected a setting of {key}, got {unknown[1]}"
    if key and got and len(kinds) == 1:
        kind = re.sub(r"<class '(?:.*\.)?(.*)'>|typing\.Literal\[(.*)\]", r"\1\2", kinds[0])
        wanted = KINDS.get(kind, kind.replace("'", ""))
        return f"expected {wanted} for --{key}, got {got[1]}".replace("for --config", "for -c")
    if "are required: " in error:
        return f"expected {error.partition('required: ')[2]}, got none"
    return " ".join(error.split())
