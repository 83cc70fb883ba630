"""Operator tools: diskkvctl and the benchmarks."""
