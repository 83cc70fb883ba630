"""MODULE; what COMMAND says about it is compared with Redis elsewhere."""

from __future__ import annotations

from tests.commands.session import Session


def test_there_are_none_and_none_can_be_loaded() -> None:
    session = Session()
    assert session.call(b"MODULE", b"LIST") == b"*0\r\n"
    assert session.call(b"MODULE", b"NOSUCH") == b"-ERR unknown subcommand 'NOSUCH'. Try MODULE HELP.\r\n"
    for line in ("MODULE LOAD /x.so", "MODULE LOADEX /x.so", "MODULE UNLOAD x"):
        assert "ERR MODULE command not allowed. If the enable-module-command" in session.run(line)


def test_loading_fails_where_it_is_allowed() -> None:
    session = Session()
    session.instance.config.enable_module_command = "yes"
    assert "ERR Error loading the extension. Please check the server logs." in session.run("MODULE LOAD /x.so")
    assert "ERR Error unloading module: no such module with that name" in session.run("MODULE UNLOAD x")
