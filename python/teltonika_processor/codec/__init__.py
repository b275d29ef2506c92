"""Frames in, values out: the native decoder, and the plain-Python reference beside it."""
