"""The sub-commands of diskkvctl, one module each; the entry point is tools/diskkvctl.py.

Every module has NAME, HELP, DESCRIPTION and EPILOG (paragraphs; indented lines stay as they are), maybe ALIASES,
`add_arguments(parser)` and `run(options) -> Outcome`. They read the rows of a stopped server's directory through
diskkv.codec and the engine's store, and never decode by themselves.

output.py   what a sub-command answers, how keys, sizes and tables look, and progress
store.py    opening a data directory, walking its headers
live.py     a running server; live_keys.py asks it for keys, snapshot.py looks into its directory
rowtext.py  rows in words, for hex and inspect
check.py    the walk over everything; it calls packed.py for a header by itself, objects.py for a header and the rows of
            its object (lists.py, zsets.py and streams.py for these types), leftovers.py for what waits to be reclaimed
mend.py     what repair does about rows that do not agree
"""
