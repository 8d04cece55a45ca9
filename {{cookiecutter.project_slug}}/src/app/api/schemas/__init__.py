"""What crosses the boundary, as Pydantic models."""
