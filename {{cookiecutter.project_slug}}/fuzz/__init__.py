"""Generated requests against the document; slow, so not part of `tests`."""
