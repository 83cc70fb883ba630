"""Lua scripting: the interpreter, its sandbox and libraries, scripts by hash, and function libraries.

    engine.ScriptEngine      scripts: load, exists, flush, run; the limits; SCRIPT KILL
    functions.FunctionStore  function libraries: load, list, delete, dump, restore, call
    sandbox.Sandbox          one Lua 5.1 runtime (lupa) that cannot reach Python, files or the process
    convert, bytecode, shebang   pure helpers
    lua/                     what runs inside: sandbox, replies, the redis table, bit, struct, cjson, cmsgpack

Nothing here knows sockets or commands: the engine runs commands through the `execute` callback it is created with.
"""
