"""The parameter table: names, types and defaults agree; every default is a value its own kind accepts."""

from __future__ import annotations

import re

import pytest

from diskkv.config import BY_NAME, PARAMETERS, Config, Parameter, Settings
from diskkv.config.settings import absolute_directory


def named(parameter: Parameter) -> str:
    return parameter.name


@pytest.mark.parametrize("parameter", PARAMETERS, ids=named)
def test_a_default_reads_back_from_its_own_lines(parameter: Parameter) -> None:
    value: object = parameter.default if parameter.name == "client-output-buffer-limit" else ()
    for arguments in parameter.kind.lines(parameter.default):
        value = parameter.kind.read(arguments, value)
    assert value == parameter.default
    assert type(value) is type(parameter.default)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=named)
def test_every_parameter_is_described(parameter: Parameter) -> None:
    assert re.fullmatch(r"[A-Z].*\.", parameter.doc), parameter.doc
    assert not parameter.ignored.endswith(".")
    assert parameter.section and parameter.kind.describe()


def test_names_are_unique_and_in_lower_case() -> None:
    names = [name for parameter in PARAMETERS for name in parameter.names]
    assert len(names) == len(set(names)) == len(BY_NAME)
    assert all(re.fullmatch(r"[a-z][a-z0-9_-]*", name) for name in names)


def test_no_parameter_hides_an_operation() -> None:
    operations = {name for name in vars(Config) if not name.startswith("__")} | {"config_file"}
    assert operations.isdisjoint(parameter.attribute for parameter in PARAMETERS)


def test_attributes_are_typed_values() -> None:
    settings = Settings()
    assert settings.appendfsync == "everysec"
    assert settings.proto_max_bulk_len == 512 << 20
    assert settings.cache_size == 64 << 20
    assert settings.protected_mode is True
    assert settings.bind == ("127.0.0.1",)
    assert settings.save == ((3600, 1), (300, 100), (60, 10000))
    assert settings.client_output_buffer_limit["pubsub"].soft_seconds == 60
    assert settings.dir == absolute_directory("data")


def test_two_settings_share_nothing() -> None:
    first, second = Settings(), Settings()
    first.port = 1
    assert second.port == 6379
    assert not hasattr(Settings, "port")


def test_secrets_are_marked() -> None:
    assert {parameter.name for parameter in PARAMETERS if parameter.secret} == {
        "requirepass",
        "masterauth",
        "tls-key-file-pass",
        "tls-client-key-file-pass",
    }
