"""Optional compiled modules: whether one that could be imported is to be used."""

from __future__ import annotations

import os
import warnings
from types import ModuleType


def usable(module: ModuleType, revision: int) -> bool:
    """Whether a compiled module is wanted and has the revision that the Python code beside it expects.

    DISKKV_PURE_PYTHON=1 turns all of them off. One that was built from another source is warned about.
    """
    if os.environ.get("DISKKV_PURE_PYTHON") == "1":
        return False
    if getattr(module, "REVISION", 0) == revision:
        return True
    warnings.warn(f"{module.__file__} is out of date and not used: pip install -e .", RuntimeWarning, stacklevel=2)
    return False
