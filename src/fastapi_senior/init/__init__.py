"""The command `init`: makes a project from the template."""
