"""Tests of the template: what it writes, what it refuses, and how it is kept."""
