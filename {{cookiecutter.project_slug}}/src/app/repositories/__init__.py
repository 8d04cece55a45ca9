"""The only code that queries the database."""
