"""Databases written by hand, row by row."""
