"""Runs the programs: the list of checks, the reader of their output, the toolchains, the servers."""
