"""The command `resource`: adds a resource to a project, or removes one."""
