"""The Redis protocol without I/O: an incremental request parser and reply encoders."""
