"""Semantics of each data type: Python values in and out; knows neither RESP nor sockets."""
