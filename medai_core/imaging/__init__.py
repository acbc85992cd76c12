"""Imaging wing: from the bytes of a scan to a calibrated, explained reading."""

from medai_core.imaging.reader import ScanReader, load_reader

__all__ = ["ScanReader", "load_reader"]
