"""The configuration of a running server: CONFIG GET, SET and REWRITE on top of the typed settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from diskkv.codec.glob import compile_glob
from diskkv.config.lines import read_value
from diskkv.config.parameters import Parameter
from diskkv.config.rewrite import rewrite_file
from diskkv.config.settings import BY_NAME, PARAMETERS, Settings
from diskkv.errors import CommandError, CommandSyntaxError, ConfigError

Hook = Callable[[], None]

_VISIBLE = {name: parameter for name, parameter in BY_NAME.items() if not parameter.hidden}
_GLOB_CHARACTERS = frozenset("*?[")


class Config(Settings):
    """All parameters as typed attributes (``config.appendfsync``), with the operations of the CONFIG command.

    Attributes are read directly and cheaply. What keeps a copy of one, or has to act when one changes, registers with
    `on_change`. `config_file` is the absolute path of the file the server was started with, or empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.config_file = ""
        self._source: Callable[[], Settings] | None = None
        self._as_read: dict[str, object] = {}
        self._hooks: dict[str, list[Hook]] = {}

    def on_change(self, name: str, hook: Hook) -> None:
        """Call `hook` after CONFIG SET changed the parameter `name` (any of its names), or set a volatile one.

        A hook that is registered for several parameters of one CONFIG SET runs once, after all of them have their new
        values. Raising ConfigError undoes the whole command: all values are put back, and the hooks that ran run again.
        """
        self._hooks.setdefault(BY_NAME[name].attribute, []).append(hook)

    def raw(self, name: str) -> bytes:
        """The value of a parameter as CONFIG GET sends it; KeyError for an unknown name.

        This is also the way to get the bytes of a password, which need not be UTF-8.
        """
        parameter = BY_NAME[name]
        return _encode(parameter.kind.format(getattr(self, parameter.attribute)))

    def get(self, patterns: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        """Names and values of all parameters that match one of the patterns, each name once.

        Source: https://redis.io/docs/latest/commands/config-get/
        """
        shown: dict[str, bytes] = {}
        for pattern in patterns:
            typed = _decode(pattern)
            if _GLOB_CHARACTERS.isdisjoint(typed):
                # Without a glob the reply spells the name as the client did.
                if typed.lower() in _VISIBLE:
                    shown.setdefault(typed.lower(), pattern)
                continue
            matches = compile_glob(pattern, nocase=True)
            for name in _VISIBLE:
                if matches(name.encode()):
                    shown.setdefault(name, name.encode())
        return [(spelling, self.raw(name)) for name, spelling in shown.items()]

    def set(self, arguments: Sequence[bytes], local: bool = False) -> None:
        """Change several parameters at once, all or none.

        Args:
            arguments: Names and values in turn.
            local: Whether the client is on this machine, for protected parameters.

        Raises:
            CommandError: With Redis' message for the first bad argument.

        Source: https://redis.io/docs/latest/commands/config-set/
        """
        if len(arguments) % 2:
            raise CommandSyntaxError
        parameters = self._find_parameters(arguments[::2], local)
        changes: list[tuple[Parameter, object]] = []
        for (name, parameter), raw in zip(parameters, arguments[1::2], strict=True):
            try:
                current = () if parameter.attribute == "save" else getattr(self, parameter.attribute)
                changes.append((parameter, read_value(parameter, [_decode(raw)], current)))
            except ConfigError as error:
                raise _set_failed(name, str(error)) from None
        self._apply(changes)

    def rewrite(self) -> None:
        """Write the current values to the configuration file, keeping its comments and order.

        Raises:
            CommandError: Without a configuration file, or when it cannot be written.

        Source: https://redis.io/docs/latest/commands/config-rewrite/
        """
        if not self.config_file:
            msg = "ERR The server is running without a config file"
            raise CommandError(msg)
        try:
            rewrite_file(self, self.config_file)
        except (OSError, ConfigError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            msg = f"ERR Rewriting config file: {reason}"
            raise CommandError(msg) from error

    def remember_source(self, source: Callable[[], Settings]) -> None:
        """The values as they are now came from `source`, which `reload` asks again."""
        self._source = source
        self._as_read = {parameter.attribute: getattr(self, parameter.attribute) for parameter in PARAMETERS}

    def reload(self) -> tuple[list[str], list[str]]:
        """Read the configuration file again and take over what differs in it from when it was read last.

        What CONFIG SET changed since then stays, unless the file has a new value for it.

        Returns:
            The parameters that changed, and those that would have but can only at the start.

        Raises:
            ConfigError: The file is wrong, or a value cannot be applied; nothing is changed then.
        """
        if self._source is None:
            return [], []
        fresh = self._source()
        different = [
            parameter
            for parameter in PARAMETERS
            if getattr(fresh, parameter.attribute) != self._as_read[parameter.attribute]
        ]
        changes = [
            (parameter, getattr(fresh, parameter.attribute)) for parameter in different if not parameter.immutable
        ]
        try:
            self._apply(changes)
        except CommandError as error:
            raise ConfigError(str(error).removeprefix("ERR ")) from error
        for parameter, value in changes:
            self._as_read[parameter.attribute] = value
        later = [parameter.name for parameter in different if parameter.immutable]
        return [parameter.name for parameter, _ in changes], later

    def _find_parameters(self, names: Sequence[bytes], local: bool) -> list[tuple[str, Parameter]]:
        found: dict[str, Parameter] = {}
        for raw in names:
            typed = _decode(raw)
            name = typed.lower()
            parameter = _VISIBLE.get(name)
            if parameter is None:
                raise CommandError(b"ERR Unknown option or number of arguments for CONFIG SET - '%b'" % raw)
            if parameter.protected and not self._protected_allowed(local):
                raise _set_failed(typed, "can't set protected config")
            if parameter.immutable:
                raise _set_failed(typed, "can't set immutable config")
            if name in found:
                raise _set_failed(typed, "duplicate parameter")
            found[name] = parameter
        return list(found.items())

    def _protected_allowed(self, local: bool) -> bool:
        return self.enable_protected_configs == "yes" or (self.enable_protected_configs == "local" and local)

    def _apply(self, changes: Sequence[tuple[Parameter, object]]) -> None:
        before = [(parameter, getattr(self, parameter.attribute)) for parameter, _ in changes]
        for parameter, _ in changes:
            self.given.add(parameter.attribute)
            self.derived.pop(parameter.attribute, None)
        for parameter, value in changes:
            setattr(self, parameter.attribute, value)
        hooks: dict[Hook, str] = {}
        for parameter, value in before:
            if parameter.volatile or getattr(self, parameter.attribute) != value:
                hooks.update(
                    (hook, parameter.name) for hook in self._hooks.get(parameter.attribute, ()) if hook not in hooks
                )
        ran: list[Hook] = []
        for hook, name in hooks.items():
            ran.append(hook)
            try:
                hook()
            except ConfigError as error:
                for parameter, value in reversed(before):
                    setattr(self, parameter.attribute, value)
                self._undo(ran)
                raise _set_failed(name, str(error)) from error

    def _undo(self, hooks: Sequence[Hook]) -> None:
        for hook in hooks:
            try:
                hook()
            except ConfigError:
                # The old values were in force a moment ago; a hook that cannot go back has said so in its own log.
                continue


def _set_failed(name: str, reason: str) -> CommandError:
    return CommandError(_encode(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
