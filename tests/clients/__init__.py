"""Client libraries of other languages, unmodified, against a real redis-server and against diskkv.

Each directory below holds the program of one language, and `program.py`, which tells how to build and run it. A program
is started as `<program> <host> <port> <password or nothing> <scratch directory>` and writes TAP to stdout:

- `# library <name> <version>` names the client library that it drives (README.md's table is compared with it);
- `1..N` at the start or at the end, and for every check of `harness/checks.py` `ok <n> - <name>` or
  `not ok <n> - <name>`, with details in lines that begin with `# `;
- `ok <n> - <name> # SKIP <reason>` where the library lacks the feature: only for the checks that `program.py` lists
  as lacking;
- `# RESTART` when it wants the server restarted on the same port and data; it goes on when it reads a line from stdin.

The program ends with status 0 when every check is ok. `DISKKV_CLIENT_OPEN_PORT` in the environment is the port of a
second server on the same host that needs no password.
"""
