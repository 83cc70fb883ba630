"""Who may do what: logging in, permissions of commands, and what happens to clients when a user changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from diskkv.errors import CommandError, ConfigError
from diskkv.services.acl import Acl, Denial, User

if TYPE_CHECKING:
    from diskkv.services.client import Client
    from diskkv.services.instance import Instance

_WRONGPASS = b"WRONGPASS invalid username-password pair or user is disabled."


class Login:
    """Binds the access control lists to the clients of an instance."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.acl = Acl({})
        self.acl.on_changed = self._changed
        self.acl.on_removed = self._removed
        self.acl.on_channels_narrowed = self._narrowed

    def configure(self) -> None:
        """Take over the configuration: requirepass, user lines, the ACL file. Raises ConfigError."""
        config = self._instance.config
        acl = self.acl
        acl.pubsub_default_all = config.acl_pubsub_default == "allchannels"
        self._set_log_length()
        self._set_password()
        for words in config.user:
            acl.configure_user([word.encode("utf-8", "surrogateescape") for word in words])
        if config.aclfile:
            acl.file = Path(config.aclfile)
            try:
                acl.load()
            except CommandError as exc:
                raise ConfigError(str(exc).removeprefix("ERR ")) from exc
        config.on_change("requirepass", self._set_password)
        config.on_change("acllog-max-len", self._set_log_length)

    def _set_password(self) -> None:
        password = self._instance.config.raw("requirepass")
        if password or not self.acl.default_user.nopass:
            self.acl.set_default_password(password)

    def _set_log_length(self) -> None:
        self.acl.log.max_len = self._instance.config.acllog_max_len

    def login(self, client: Client, name: bytes, password: bytes) -> None:
        """Log a client in. Raises WRONGPASS, and notes the failure in the ACL log."""
        user = self.acl.authenticate(name, password)
        if user is None:
            self.acl.log.add("auth", "toplevel", b"AUTH", name, self._describe(client), client.engine.now_ms)
            raise CommandError(_WRONGPASS)
        client.user = user
        client.authenticated = True
        client.refresh()

    def check(self, client: Client, entry: Any, argv: list[bytes]) -> None:
        """Raise NOPERM when the client's user may not run this."""
        denial = self.acl.check(client.user, entry, argv)
        if denial is not None:
            self.refuse(client, denial)

    def refuse(self, client: Client, denial: Denial) -> None:
        """Note a denial in the ACL log and raise it."""
        context = "lua" if client.is_script else "multi" if client.transaction is not None else "toplevel"
        self.acl.log_denial(denial, context, self._describe(client), client.engine.now_ms)
        raise CommandError(denial.message)

    def reset(self, client: Client) -> None:
        """Make a client the default user again, logged in only when that needs no password."""
        client.user = self.acl.default_user
        client.authenticated = not self.acl.default_needs_password

    def _describe(self, client: Client) -> bytes:
        return self._instance.describe_client(client)

    def _clients_of(self, user: User) -> list[Client]:
        return [client for client in self._instance.clients.values() if client.user is user]

    def _changed(self, user: User) -> None:
        for client in self._clients_of(user):
            client.refresh()

    def _removed(self, user: User) -> None:
        for client in self._clients_of(user):
            self.reset(client)
            client.close()

    def _narrowed(self, user: User) -> None:
        for client in self._clients_of(user):
            if client.subscriptions and not self._instance.may_stay_subscribed(client):
                client.close()
