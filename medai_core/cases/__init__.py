"""The case workspace: arrivals, worklist, reviews, reports and audit, above the wings and below the pages.

:class:`medai_core.cases.workspace.Workspace` is the one public face; every call takes the acting user.
"""
