"""What the service is about: read models and pure rules. Imports nothing of ours."""
