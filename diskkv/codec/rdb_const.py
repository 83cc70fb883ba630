"""Numbers of the RDB format. On disk and on the wire, in every Redis: never renumber."""

from __future__ import annotations

from typing import Final

# Versions. 6: Redis 2.6, 8: Redis 4, 9: Redis 5 and 6, 10: Redis 7.0, 11: Redis 7.2 and Valkey 7.2 .. 8.1,
# 12: Redis 7.4 .. 8.2, 80: Valkey 9.
MIN_VERSION: Final = 1
MAX_VERSION: Final = 12
VALKEY_VERSION: Final = 80
ZSET_2_VERSION: Final = 8
STREAM_VERSION: Final = 9
LISTPACK_VERSION: Final = 10
LOSSLESS_VERSION: Final = 11
FIELD_EXPIRY_VERSION: Final = 12

# Value types.
STRING: Final = 0
LIST: Final = 1
SET: Final = 2
ZSET: Final = 3
HASH: Final = 4
ZSET_2: Final = 5
MODULE_PRE_GA: Final = 6
MODULE_2: Final = 7
HASH_ZIPMAP: Final = 9
LIST_ZIPLIST: Final = 10
SET_INTSET: Final = 11
ZSET_ZIPLIST: Final = 12
HASH_ZIPLIST: Final = 13
LIST_QUICKLIST: Final = 14
STREAM_LISTPACKS: Final = 15
HASH_LISTPACK: Final = 16
ZSET_LISTPACK: Final = 17
LIST_QUICKLIST_2: Final = 18
STREAM_LISTPACKS_2: Final = 19
SET_LISTPACK: Final = 20
STREAM_LISTPACKS_3: Final = 21
# 22 has two meanings: a hash with field expiry in Redis 7.4's release candidates, and in Valkey 9 (version 80).
HASH_METADATA_PRE_GA: Final = 22
HASH_2_VALKEY: Final = 22
HASH_LISTPACK_EX_PRE_GA: Final = 23
HASH_METADATA: Final = 24
HASH_LISTPACK_EX: Final = 25

# Opcodes, in the place of a value type.
OP_SLOT_IMPORT: Final = 243
OP_SLOT_INFO: Final = 244
OP_FUNCTION2: Final = 245
OP_FUNCTION_PRE_GA: Final = 246
OP_MODULE_AUX: Final = 247
OP_IDLE: Final = 248
OP_FREQ: Final = 249
OP_AUX: Final = 250
OP_RESIZEDB: Final = 251
OP_EXPIRETIME_MS: Final = 252
OP_EXPIRETIME: Final = 253
OP_SELECTDB: Final = 254
OP_EOF: Final = 255

# Opcodes inside a module's data.
MODULE_EOF: Final = 0
MODULE_SINT: Final = 1
MODULE_UINT: Final = 2
MODULE_FLOAT: Final = 3
MODULE_DOUBLE: Final = 4
MODULE_STRING: Final = 5

# Containers of a quicklist node.
NODE_PLAIN: Final = 1
NODE_PACKED: Final = 2

# Flags of an entry in a stream node.
STREAM_ENTRY_DELETED: Final = 1
STREAM_ENTRY_SAME_FIELDS: Final = 2
