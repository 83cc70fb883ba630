"""Access control lists: who may run which commands on which keys and channels.

- `rules`: the errors of a rule, and what the engine wants to know of a command.
- `selector`: one set of command rules, key patterns and channel patterns.
- `user`: passwords, flags and selectors of a user; the decision whether a command may run.
- `service`: all users of a server, and everything the ACL commands do.
- `access`: the keys and channels of a command, from its declaration.
- `log`: the denials that ACL LOG shows.
- `files`: users in redis.conf and in an ACL file.

Source: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
"""

from diskkv.services.acl.access import declared_channels, declared_keys
from diskkv.services.acl.log import AclLog, AclLogEntry
from diskkv.services.acl.rules import (
    CATEGORIES,
    CHANNEL,
    CHANNEL_PATTERN,
    KEY_READ,
    KEY_WRITE,
    AclCommand,
    RuleError,
    key_access,
)
from diskkv.services.acl.service import Acl, generate_password
from diskkv.services.acl.user import Denial, User

__all__ = [
    "CATEGORIES",
    "CHANNEL",
    "CHANNEL_PATTERN",
    "KEY_READ",
    "KEY_WRITE",
    "Acl",
    "AclCommand",
    "AclLog",
    "AclLogEntry",
    "Denial",
    "RuleError",
    "User",
    "declared_channels",
    "declared_keys",
    "generate_password",
    "key_access",
]
