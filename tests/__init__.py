"""Tests of the template: generated projects, refused answers and maintenance."""
