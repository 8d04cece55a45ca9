"""What the service does, in the words of its domain; knows no HTTP."""
