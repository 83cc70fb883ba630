"""The parameter reference, generated from the table: Markdown for the documentation, plain text for --help."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby

from diskkv.codec.numbers import format_memory
from diskkv.config.kinds import Memory
from diskkv.config.lines import join_words
from diskkv.config.parameters import Parameter
from diskkv.config.settings import PARAMETERS

_HELP_WIDTH = 100


def render_markdown() -> str:
    """One table per section: name, type, default, when it can change, description."""
    return "\n".join(_markdown_section(section, parameters) for section, parameters in _sections())


def render_options() -> str:
    """Every parameter that has an effect, with its default and description, and the names of the others, for --help."""
    sections = []
    for section, parameters in _sections():
        effective = [parameter for parameter in parameters if not parameter.ignored]
        if effective:
            sections.append(f"{section}:\n" + "\n".join(map(_help_entry, effective)))
    ignored = ", ".join(parameter.name for parameter in PARAMETERS if parameter.ignored)
    names = _filled(ignored, "  ", "  ")
    return "\n\n".join(sections) + f"\n\nAccepted for compatibility, without effect:\n{names}\n"


def default_text(parameter: Parameter) -> str:
    """The default as one would write it in a configuration file."""
    if isinstance(parameter.kind, Memory):
        return format_memory(parameter.default)
    if parameter.attribute == "dir":
        return str(parameter.default)
    return "; ".join(join_words(line) for line in parameter.kind.lines(parameter.default))


def _sections() -> Iterator[tuple[str, list[Parameter]]]:
    for section, parameters in groupby(PARAMETERS, lambda parameter: parameter.section):
        yield section, list(parameters)


def _description(parameter: Parameter) -> str:
    text = parameter.doc
    if parameter.unit and parameter.unit != "bytes":
        text += f" In {parameter.unit}."
    if parameter.ignored:
        text += f" No effect: {parameter.ignored}."
    if parameter.aliases:
        text += f" Also {', '.join(parameter.aliases)}."
    return text


def _markdown_section(section: str, parameters: list[Parameter]) -> str:
    rows = [f"### {section}", "", "| parameter | type | default | change | description |", "|---|---|---|---|---|"]
    for parameter in parameters:
        default = default_text(parameter)
        shown = f"`{default}`" if default else ""
        change = "at start" if parameter.immutable else "live"
        cells = (f"`{parameter.name}`", parameter.kind.describe(), shown, change, _description(parameter))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _help_entry(parameter: Parameter) -> str:
    default = default_text(parameter) or '""'
    head = f"--{parameter.name} <{parameter.kind.describe()}> [{default}]"
    return _filled(head, "  ", "      ") + "\n" + _filled(_description(parameter), " " * 12, " " * 12)


def _filled(text: str, first: str, following: str) -> str:
    return textwrap.fill(text, _HELP_WIDTH, initial_indent=first, subsequent_indent=following, break_on_hyphens=False)
