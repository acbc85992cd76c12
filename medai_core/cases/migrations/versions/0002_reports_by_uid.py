"""A report is found by its SOP Instance UID, so that one that comes back from the PACS is recognised."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("reports", sa.Column("sop", sa.String(length=128), nullable=True))
    op.create_index(op.f("ix_reports_sop"), "reports", ["sop"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_reports_sop"), table_name="reports")
    op.drop_column("reports", "sop")
