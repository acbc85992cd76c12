"""``python -m medai_core``."""

from __future__ import annotations

import os
import sys


def run() -> int:
    # Before anything imports the runtime, which would settle for TensorFlow's warnings.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from medai_core.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
