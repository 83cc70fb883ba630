"""The Redis commands: argv in, RESP reply out; one module per command group."""
