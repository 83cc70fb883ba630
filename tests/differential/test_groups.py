"""The declaration of groups agrees with what the subject says it has."""

from __future__ import annotations

import pytest

from tests.differential.groups import GROUPS, declared
from tests.harness import servers
from tests.harness.statemachine import supports


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_declared_groups_are_supported_and_supported_groups_are_declared(name: str) -> None:
    with servers.subject().connect() as wire:
        missing = [command for command in GROUPS[name].commands.split() if not supports(wire, command)]
    if name in declared():
        assert not missing, f"group {name} is declared in groups.py, but the subject lacks {missing}"
    else:
        assert missing, f"the subject has all commands of {name}: declare the group in groups.py"
