"""Hand-written applications to compare with; they run on a generated project's libraries."""
