"""The only home of trio and sockets: reactor, connections, TLS, background tasks."""
