"""Flask-Session: sessions of a Flask application in the server."""

from __future__ import annotations

import msgspec
import redis
from flask import Flask, session
from flask_session import Session

from tests.harness.servers import POOL, subject_flavour


def application(client: redis.Redis) -> Flask:
    app = Flask("shop")
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=client, PERMANENT_SESSION_LIFETIME=500, TESTING=True)
    Session(app)

    @app.route("/put/<item>")
    def put(item: str) -> str:
        session.setdefault("basket", []).append(item)
        session.modified = True
        return "ok"

    @app.route("/basket")
    def basket() -> str:
        return ",".join(session.get("basket", []))

    @app.route("/leave")
    def leave() -> str:
        session.clear()
        return "ok"

    return app


def test_sessions_are_kept_apart_and_expire() -> None:
    server = POOL.get(subject_flavour(), tcp=True, role="applications")
    with redis.Redis(port=server.port, db=2) as client:
        client.flushdb()
        app = application(client)
        ada, grace = app.test_client(), app.test_client()
        for item in ("apples", "pears"):
            ada.get(f"/put/{item}")
        grace.get("/put/plums")
        assert ada.get("/basket").text == "apples,pears"
        assert grace.get("/basket").text == "plums"
        keys = list(client.scan_iter("session:*"))
        assert len(keys) == 2
        assert all(490 < client.ttl(key) <= 500 for key in keys)
        baskets = [msgspec.msgpack.decode(value)["basket"] for value in client.mget(keys)]
        assert sorted(baskets) == [["apples", "pears"], ["plums"]]
        # The session is the server's, not the application's.
        elsewhere = application(client).test_client()
        cookie = ada.get_cookie("session")
        assert cookie is not None
        elsewhere.set_cookie("session", cookie.value)
        assert elsewhere.get("/basket").text == "apples,pears"
        ada.get("/leave")
        assert client.exists(*keys) == 1
