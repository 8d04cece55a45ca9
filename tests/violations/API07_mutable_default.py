# file: src/app/core/violation.py
def latest(moments: list[int] = []) -> int:  # caught
    """Return the latest moment."""
    return max(moments)
