"""Zones in, crossings out."""
