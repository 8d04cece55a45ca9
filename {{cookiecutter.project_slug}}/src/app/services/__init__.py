"""Use cases. They know no HTTP."""
