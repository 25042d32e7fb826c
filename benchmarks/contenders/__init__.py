"""Programs that do the same job: read frames, inspect them, write a decision for each. One module each, run as itself.

`benchmarks.contenders.table` says how each is started.
"""
