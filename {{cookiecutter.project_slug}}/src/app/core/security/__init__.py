"""Cryptography: passwords, signing keys, tokens."""
