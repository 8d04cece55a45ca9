"""Dependencies, as aliases that routes name."""
