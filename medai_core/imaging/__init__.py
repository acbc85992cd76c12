"""Imaging wing: from the bytes of a scan to a calibrated, explained reading."""
