"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "cases",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("department", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=True),
        sa.Column("pseudonym", sa.String(length=128), nullable=False),
        sa.Column("identity", sa.LargeBinary(), nullable=True),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cases")),
        sa.UniqueConstraint("department", "patient", name=op.f("uq_cases_department_patient")),
    )
    op.create_index(op.f("ix_cases_pseudonym"), "cases", ["pseudonym"], unique=False)
    op.create_table(
        "doomed",
        sa.Column("content", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("content", name=op.f("pk_doomed")),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=128), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=128), nullable=False),
        sa.Column("object", sa.String(length=128), nullable=False),
        sa.Column("details", sa.String(length=4000), nullable=False),
        sa.Column("previous", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_object"), "events", ["object"], unique=False)
    op.create_table(
        "ledger",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=128), nullable=False),
        sa.Column("seal", sa.String(length=128), nullable=False),
        sa.Column("key_check", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_table(
        "users",
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("roles", sa.String(length=128), nullable=False),
        sa.Column("seen", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_users")),
    )
    op.create_table(
        "presences",
        sa.Column("case_id", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=False),
        sa.Column("seen", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_presences_case_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("case_id", "subject", name=op.f("pk_presences")),
    )
    op.create_table(
        "studies",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("case_id", sa.String(length=128), nullable=False),
        sa.Column("department", sa.String(length=128), nullable=False),
        sa.Column("uid", sa.String(length=128), nullable=True),
        sa.Column("kind", sa.String(length=128), nullable=False),
        sa.Column("modality", sa.String(length=128), nullable=False),
        sa.Column("body_part", sa.String(length=128), nullable=False),
        sa.Column("details", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.String(length=128), nullable=False),
        sa.Column("model_state", sa.String(length=128), nullable=False),
        sa.Column("urgency", sa.Double(), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=True),
        sa.Column("arrived", sa.DateTime(), nullable=False),
        sa.Column("assignee", sa.String(length=128), nullable=True),
        sa.Column("opened", sa.DateTime(), nullable=True),
        sa.Column("reviewed", sa.Boolean(), nullable=False),
        sa.Column("objects", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_studies_case_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("case_id", "uid", name=op.f("uq_studies_case_id_uid")),
    )
    op.create_index(op.f("ix_studies_assignee"), "studies", ["assignee"], unique=False)
    op.create_index(op.f("ix_studies_department_arrived"), "studies", ["department", "arrived"], unique=False)
    op.create_index(
        op.f("ix_studies_department_status_urgency_arrived"),
        "studies",
        ["department", "status", "urgency", "arrived"],
        unique=False,
    )
    op.create_index(
        op.f("ix_studies_department_urgency_arrived"), "studies", ["department", "urgency", "arrived"], unique=False
    )
    op.create_table(
        "words",
        sa.Column("word", sa.String(length=128), nullable=False),
        sa.Column("case_id", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_words_case_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("word", "case_id", name=op.f("pk_words")),
    )
    op.create_index(op.f("ix_words_case_id"), "words", ["case_id"], unique=False)
    op.create_table(
        "looks",
        sa.Column("study_id", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("opened", sa.DateTime(), nullable=True),
        sa.Column("revealed", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_looks_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("study_id", "subject", name=op.f("pk_looks")),
    )
    op.create_table(
        "objects",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("study_id", sa.String(length=128), nullable=False),
        sa.Column("department", sa.String(length=128), nullable=False),
        sa.Column("content", sa.String(length=128), nullable=False),
        sa.Column("sop", sa.String(length=128), nullable=True),
        sa.Column("format", sa.String(length=128), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("arrived", sa.DateTime(), nullable=False),
        sa.Column("model_state", sa.String(length=128), nullable=False),
        sa.Column("claimed_until", sa.DateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_objects_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_objects")),
        sa.UniqueConstraint("department", "content", name=op.f("uq_objects_department_content")),
        sa.UniqueConstraint("department", "sop", name=op.f("uq_objects_department_sop")),
    )
    op.create_index(op.f("ix_objects_content"), "objects", ["content"], unique=False)
    op.create_index(op.f("ix_objects_model_state_arrived"), "objects", ["model_state", "arrived"], unique=False)
    op.create_index(op.f("ix_objects_study_id"), "objects", ["study_id"], unique=False)
    op.create_table(
        "reports",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("study_id", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=128), nullable=False),
        sa.Column("mime", sa.String(length=128), nullable=False),
        sa.Column("content", sa.String(length=128), nullable=False),
        sa.Column("identified", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_reports_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
    )
    op.create_index(op.f("ix_reports_content"), "reports", ["content"], unique=False)
    op.create_index(op.f("ix_reports_study_id"), "reports", ["study_id"], unique=False)
    op.create_table(
        "readings",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("object_id", sa.String(length=128), nullable=False),
        sa.Column("study_id", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("model_version", sa.String(length=128), nullable=False),
        sa.Column("model_digest", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=128), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=True),
        sa.Column("urgency", sa.Double(), nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["object_id"], ["objects.id"], name=op.f("fk_readings_object_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_readings_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_readings")),
    )
    op.create_index(op.f("ix_readings_object_id"), "readings", ["object_id"], unique=False)
    op.create_index(op.f("ix_readings_study_id"), "readings", ["study_id"], unique=False)
    op.create_table(
        "reviews",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("study_id", sa.String(length=128), nullable=False),
        sa.Column("reader", sa.String(length=128), nullable=False),
        sa.Column("reader_name", sa.String(length=128), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("agrees", sa.Boolean(), nullable=True),
        sa.Column("first", sa.Boolean(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("reading_id", sa.String(length=128), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reading_id"], ["readings.id"], name=op.f("fk_reviews_reading_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_reviews_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    op.create_index(op.f("ix_reviews_reading_id"), "reviews", ["reading_id"], unique=False)
    op.create_index(op.f("ix_reviews_study_id"), "reviews", ["study_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_reviews_study_id"), table_name="reviews")
    op.drop_index(op.f("ix_reviews_reading_id"), table_name="reviews")
    op.drop_table("reviews")
    op.drop_index(op.f("ix_readings_study_id"), table_name="readings")
    op.drop_index(op.f("ix_readings_object_id"), table_name="readings")
    op.drop_table("readings")
    op.drop_index(op.f("ix_reports_study_id"), table_name="reports")
    op.drop_index(op.f("ix_reports_content"), table_name="reports")
    op.drop_table("reports")
    op.drop_index(op.f("ix_objects_study_id"), table_name="objects")
    op.drop_index(op.f("ix_objects_model_state_arrived"), table_name="objects")
    op.drop_index(op.f("ix_objects_content"), table_name="objects")
    op.drop_table("objects")
    op.drop_table("looks")
    op.drop_index(op.f("ix_words_case_id"), table_name="words")
    op.drop_table("words")
    op.drop_index(op.f("ix_studies_department_urgency_arrived"), table_name="studies")
    op.drop_index(op.f("ix_studies_department_status_urgency_arrived"), table_name="studies")
    op.drop_index(op.f("ix_studies_department_arrived"), table_name="studies")
    op.drop_index(op.f("ix_studies_assignee"), table_name="studies")
    op.drop_table("studies")
    op.drop_table("presences")
    op.drop_table("users")
    op.drop_table("ledger")
    op.drop_index(op.f("ix_events_object"), table_name="events")
    op.drop_table("events")
    op.drop_table("doomed")
    op.drop_index(op.f("ix_cases_pseudonym"), table_name="cases")
    op.drop_table("cases")
