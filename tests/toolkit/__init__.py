"""Tests of the program `fastapi-senior`."""
