"""Intensive care: a stay as recorded, its course by the hour, and the risk at each."""
