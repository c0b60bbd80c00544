"""Tests of the template: of what it renders, and of what surrounds it."""
