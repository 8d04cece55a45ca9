"""Hooks of cookiecutter; a package only for the tests."""
