"""Lua: redis-lua for the plain interpreter, and lua-resty-redis inside nginx; both from Debian's packages."""

from __future__ import annotations

from pathlib import Path

from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import require, tool, unavailable

HERE = Path(__file__).parent
# Debian's names: lua-nginx-redis, libnginx-mod-http-lua.
RESTY_FILES = (Path("/usr/share/lua/5.1/nginx/redis.lua"), Path("/usr/lib/nginx/modules/ngx_http_lua_module.so"))


def redis_lua(directory: Path) -> list[str | Path]:
    """The interpreter and the script."""
    lua = tool("lua5.1")
    require("lua-redis", lua, "-e", "require 'redis' require 'socket'")
    return [lua, HERE / "client.lua"]


def resty(directory: Path) -> list[str | Path]:
    """The shell script that starts nginx."""
    for path in RESTY_FILES:
        if not path.exists():
            unavailable(f"{path} is not installed")
    tool("nginx", "/usr/sbin/nginx")
    return [tool("sh"), HERE / "resty.sh"]


PROGRAMS = [
    Program("Lua", "redis-lua", redis_lua, lacks={"RESP3": "redis-lua speaks RESP2 only"}),
    Program("Lua", "lua-resty-redis", resty, lacks={"RESP3": "lua-resty-redis speaks RESP2 only"}),
]
