"""Docstrings as the site shows them: formulas as MathML, which browsers draw by themselves, and names without roles."""

from __future__ import annotations

import re
from typing import Any

import griffe
from latex2mathml.converter import convert


class Plain(griffe.Extension):
    """Take Sphinx's marks out of docstrings."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one."""
        if obj.docstring:
            obj.docstring.value = plain(obj.docstring.value)


def plain(text: str) -> str:
    """Leave roles out, list what a Shape section names, and draw formulas."""
    text = re.sub(r":(?:class|func|meth|mod|attr):`~[\w.]*?(\w+)`", r"`\1`", text)
    text = re.sub(r":(?:class|func|meth|mod|attr):(?=`)", "", text)
    text = re.sub(r":math:`(.*?)`", lambda found: convert(found[1]), text, flags=re.S)
    text = re.sub(r"^\.\. math::(.*(?:\n(?! *\n).*)*)", _formula, text, flags=re.M)
    return re.sub(
        r"(?<=^Shape:\n)(?: {4}.*(?:\n|$))+",
        lambda lines: re.sub(r"^ {4}(?! )", "    - ", lines[0], flags=re.M),
        text,
        flags=re.M,
    )


def _formula(found: re.Match[str]) -> str:
    latex = re.sub(r"\\big[lr]", "", " ".join(found[1].split()))
    return f"<div>{convert(latex, display='block')}</div>"
