"""hiredis 1.x: the C sources that the Python package of the same name carries, built as a static library."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

from tests.clients.harness.toolchains import build, runs, shared, tool, unavailable

PACKAGE = "hiredis==3.5.0"
_SOURCES = ("alloc", "async", "hiredis", "net", "read", "sds", "sockcompat")


def library() -> tuple[Path, Path]:
    """The include directory and the static library, made once for all tests of this run."""
    directory = shared("hiredis", _make)
    return directory, directory / "libhiredis.a"


def _make(directory: Path) -> None:
    compiler, archiver = tool("cc", "gcc"), tool("ar")
    options = ["--no-deps", "--no-binary", ":all:", "--disable-pip-version-check", "-q", "--dest"]
    download: list[str | Path] = [sys.executable, "-m", "pip", "download", *options, directory, PACKAGE]
    # With the installed setuptools, when it is recent enough, pip need not fetch one to read the package's metadata.
    if not runs([*download, "--no-build-isolation"]) and not runs(download):
        unavailable(f"pip cannot download the sources of {PACKAGE}")
    with tarfile.open(next(directory.glob("*.tar.gz"))) as archive:
        archive.extractall(directory, filter="data")
    source = next(directory.glob("*/vendor/hiredis"))
    source.rename(directory / "hiredis")
    for name in _SOURCES:
        build([compiler, "-std=c99", "-D_GNU_SOURCE", "-O1", "-c", f"hiredis/{name}.c", "-o", f"{name}.o"], directory)
    build([archiver, "rcs", "libhiredis.a", *(f"{name}.o" for name in _SOURCES)], directory)
