"""Attacks: hostile clients against the real server, and fuzzers of the protocol and of every command's arguments."""
