"""The process that does jobs: `app worker run`."""
