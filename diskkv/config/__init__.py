"""Configuration: the typed parameter table, redis.conf files, the command line, and CONFIG GET/SET/REWRITE.

settings     the table: one typed attribute per parameter
parameters   what an entry of the table is, and the functions that declare one
kinds        the parameter types: reading, checking, printing
lines        redis.conf syntax
command_line the arguments of diskkv-server
config       CONFIG GET and SET with hooks
rewrite      CONFIG REWRITE
reference    the generated documentation
"""

from diskkv.config.command_line import Invocation, help_text, parse_command_line, version_text
from diskkv.config.config import Config
from diskkv.config.kinds import BufferLimit, BufferLimits
from diskkv.config.lines import load_file
from diskkv.config.parameters import Parameter
from diskkv.config.reference import render_markdown
from diskkv.config.settings import BY_NAME, IN_MEMORY_DIRECTORY, PARAMETERS, Settings

__all__ = [
    "BY_NAME",
    "IN_MEMORY_DIRECTORY",
    "PARAMETERS",
    "BufferLimit",
    "BufferLimits",
    "Config",
    "Invocation",
    "Parameter",
    "Settings",
    "help_text",
    "load_file",
    "parse_command_line",
    "render_markdown",
    "version_text",
]
