"""What runs in the environment of a generated project, with its libraries.

Nothing here imports anything of the rest of `benchmarks`, which runs in an environment of its own.
"""
