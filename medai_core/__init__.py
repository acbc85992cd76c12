"""MedAI core: trained models, and everything the dashboard does, as an ordinary Python library."""

__version__ = "0.1.0"
