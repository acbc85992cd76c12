"""What tests of several pages do: open one, and look which pictures it shows."""

from __future__ import annotations

import re

from streamlit.testing.v1 import AppTest


def on_page(app: AppTest, path: str) -> AppTest:
    """Return the app on one of its pages."""
    app.switch_page(path).run()
    assert not app.exception
    return app


def shown(page: AppTest) -> list[str]:
    """Return the addresses of the images in the grids, in order."""
    return re.findall(r'<img src="([^"]+)"', "".join(str(html.proto.body) for html in page.get("html")))
