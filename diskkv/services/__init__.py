"""State shared by clients: sessions, pub/sub, blocked clients, expiry, notifications, ACL, scripts, statistics."""
