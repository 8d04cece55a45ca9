"""Passwords, signing keys, access tokens and other secrets."""
