"""The command `endpoint`: adds an operation to a resource of a project."""
