"""Measurements of a generated service beside what is written by hand: see README.md."""
