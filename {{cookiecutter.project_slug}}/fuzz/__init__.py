"""Generated requests against the document; apart from `tests`, for it takes its time."""
