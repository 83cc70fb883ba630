"""Pure functions between bytes and values: key layouts, numbers, records, RDB. No I/O, no state."""
