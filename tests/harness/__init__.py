"""Test harness: real server processes, a raw RESP client, reply comparison, and a differential state machine.

- `servers`: start, stop, kill and restart real server processes over unix sockets (or TCP where a test needs it).
- `wire`: a synchronous RESP2/RESP3 client whose replies keep every wire type apart.
- `compare`: which differences between two servers are permitted, each with its reason.
- `statemachine`: a hypothesis state machine that drives two servers with the same commands.
"""
