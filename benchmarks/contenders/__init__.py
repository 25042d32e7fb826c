"""Programs that do the same job: read frames, inspect them, write a decision for each. Each module is one program.

`benchmarks.contenders.table` has the command line of each program.
"""
