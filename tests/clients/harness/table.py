"""README.md's table of languages and client libraries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parents[3] / "README.md"
_BEGIN, _END = "<!-- clients:begin -->", "<!-- clients:end -->"


@dataclass(frozen=True)
class Row:
    """One library: its version or the leading components of it, and the checks that it cannot make."""

    version: str
    lacks: str

    def covers(self, version: str) -> bool:
        """Whether the version is the row's, or begins with its components: 4.8 covers 4.8.1, not 4.80."""
        return version == self.version or version.startswith(f"{self.version}.")


def rows() -> dict[tuple[str, str], Row]:
    """The table's rows by language and library."""
    text = README.read_text()
    part = text[text.index(_BEGIN) + len(_BEGIN) : text.index(_END)]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    table = {(language, library): Row(version, lacks) for language, library, version, lacks in cells}
    assert len(table) == len(cells), "the table lists a library twice"
    return table
