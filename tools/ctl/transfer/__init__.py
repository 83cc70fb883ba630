"""Moving data in and out: RDB files, append-only files, command streams and JSON lines, from and to directories and
running servers.

A source yields items: records of the RDB codec (functions, keys, pieces of keys) or commands. A sink takes them. All
sources go with all sinks, and neither holds more than a piece of a value.
"""
