"""Collects only the files of the command groups that `groups` declares."""

from __future__ import annotations

from tests.differential.groups import files_not_collected

collect_ignore = files_not_collected()
