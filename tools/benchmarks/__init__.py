"""Benchmarks that run diskkv beside redis-server and Valkey on the same machine; the entry point is tools/bench.py.

errors.py           the one exception: a line for the operator
wire.py             a small blocking client and a scanner that finds where a reply ends
servers.py          start, check, pause and stop a server; memory and CPU it used
redis_benchmark.py  run redis-benchmark and read its CSV
rounds.py           interleaved rounds over several live servers, samples and summaries
report.py           Markdown tables, JSON, the machine's description
plot.py             line charts as SVG
loader.py           fill a server quickly through pipelines
loadgen.py          closed-loop clients with their own key distribution, latencies per request
drivers.py          clients for what redis-benchmark cannot send: transactions, fan-out, consumer groups
options.py          the command line options that the suites share
cgroup.py, disk.py  a memory limit for one process; the disk's own random-read rate
suite_*.py          the sub-commands
"""
