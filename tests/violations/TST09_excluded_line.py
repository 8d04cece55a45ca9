# file: src/app/core/violation.py
NOTHING = None  # pragma: no cover
