"""Hooks of the generator; a package only for the tests."""
