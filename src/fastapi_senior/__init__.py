"""The toolkit of the template: commands for projects made from it."""
