"""diskkv: a server that speaks the Redis protocol and keeps its data on disk in LevelDB."""

__version__ = "0.1.0"
