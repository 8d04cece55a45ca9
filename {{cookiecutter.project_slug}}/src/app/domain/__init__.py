"""Read models, errors and pure rules. Imports only the pure modules of `core`."""
