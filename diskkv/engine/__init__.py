"""The store, the turn and its overlay, the cache, the keyspace, the reclaim of dead data."""
