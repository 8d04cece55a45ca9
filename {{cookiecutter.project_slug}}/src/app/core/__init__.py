"""Settings, security and logging, for every layer."""
