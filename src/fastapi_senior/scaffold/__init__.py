"""The command `scaffold`: adds the empty layers to a folder."""
