"""Reading tables: what is found in good ones, and the one sentence for each bad one."""

from __future__ import annotations

import io
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from drawn_tables import csv, patients

from medai_core.errors import InputError
from medai_core.tabular import problem as problem_module
from medai_core.tabular import tables
from medai_core.tabular.problem import Plan, prepare
from medai_core.tabular.tables import clean_name, read_table, table_of


def test_types_units_and_missing_values_are_found():
    frame = patients().assign(
        **{"weight": [f"{k % 40 + 50} kg" for k in range(240)], "seen": "2020-01-02", "empty": "", "flag": True}
    )
    found = read_table(csv(frame), "a.csv")
    kinds = {column.name: (column.kind, column.unit) for column in found.columns}
    assert kinds["age (years)"] == ("number", "years") and kinds["crp_mg_l"] == ("number", "mg/l")
    assert kinds["weight"] == ("number", "kg") and kinds["sex"] == ("category", None)
    assert kinds["seen"][0] == "date" and kinds["empty"][0] == "empty" and kinds["flag"][0] == "category"
    assert found["crp_mg_l"].missing == int(frame["crp_mg_l"].isna().sum()) and found["sex"].levels == ("f", "m")
    assert found["age (years)"].whole and not found["crp_mg_l"].whole
    np.testing.assert_allclose(found.frame["crp_mg_l"], frame["crp_mg_l"])


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_separator_and_encoding_are_found(mark, encoding):
    frame = pd.DataFrame({"名称": ["甲", "乙", "甲", "乙"], "值": [1.5, 2, 3, 4]})
    found = read_table(frame.to_csv(index=False, sep=mark).encode(encoding))
    assert found.names == ["名称", "值"] and found.frame["值"].tolist() == [1.5, 2, 3, 4]
    assert found["名称"].levels == ("乙", "甲")


def test_windows_text_and_decimal_commas():
    found = read_table("Größe;Wert\nklein;1,5\ngroß;2,25\nklein;3\n".encode("cp1252"))
    assert found.names == ["Größe", "Wert"] and found.frame["Wert"].tolist() == [1.5, 2.25, 3.0]


def test_parquet_and_excel_give_the_same_table():
    frame, parquet, excel = patients(60), io.BytesIO(), io.BytesIO()
    frame.to_parquet(parquet)
    frame.to_excel(excel, index=False)
    text, *others = (read_table(data) for data in (csv(frame), parquet.getvalue(), excel.getvalue()))
    for other in others:
        assert [vars(c) for c in other.columns] == [vars(c) for c in text.columns]
        pd.testing.assert_frame_equal(other.frame, text.frame)


@pytest.mark.parametrize(
    "data",
    [b"a,b\r1,x\r2,y\r", b"\n \n\na,b\n1,x\n2,y\n", b'"a",b\r\n\r\n1,x\r\n2,y\r\n', b'"a\n",b\n1,x\n2,y\n'],
)
def test_names_are_the_first_line_that_is_not_blank_however_lines_end(data):
    found = read_table(data)
    assert found.names == ["a", "b"] and found.frame["a"].tolist() == [1, 2] and found["b"].levels == ("x", "y")


def test_a_character_set_that_is_none_is_one_sentence():
    for wrong in ("punycode", "no such", "ascii"):
        with pytest.raises(InputError, match=f"not text in the encoding {wrong}"):
            read_table(b"a,b\n1,\xff\n", encoding=wrong)


def test_limits_of_detection_and_stray_words_are_told():
    cells = [*(str(k / 10) for k in range(1, 40)), "<0.1", "<0.1", "haemolysed"]
    found = read_table(csv(pd.DataFrame({"troponin": cells, "x": range(42)})))
    assert found["troponin"].kind == "number" and found["troponin"].missing == 1
    assert found.frame["troponin"].iloc[39] == 0.1
    told = " ".join(str(note) for note in found.notes)
    assert "2 values such as <0.1" in told and "1 cells are no numbers, such as haemolysed" in told


def test_numbers_that_begin_with_zero_stay_text():
    found = read_table(csv(pd.DataFrame({"code": [f"{k:05d}" for k in range(50)], "x": range(50)})))
    assert found["code"].kind == "text"


def test_names_that_repeat_or_hold_markup_are_changed_and_told():
    found = read_table(b"a,a,<b>x</b>,,`y` $1$\n1,2,3,4,5\n6,7,8,9,10\n")
    assert found.names == ["a", "a (2)", "‹b›x‹/b›", "column 4", "'y' ＄1＄"]
    assert len(found.notes) == 5 and clean_name("x" * 200) == "x" * 79 + "…"


BAD = {
    "empty": (b" \n", "The file is empty"),
    "one column": (b"a\n1\n2\n", "at least two columns, got 1"),
    "no rows": (b"a,b\n", "but no rows"),
    "no line end": (b"a,b", "but no rows"),
    "all missing": (b"a,b\n,\nNA,\n", "Every cell of the table is empty"),
    "uneven": (b"a,b\n1,2\n1,2,3\n", "Row 3 has 3 cells, but the header has 2"),
    "no header": (b"1,2\n3,4\n", "The first row must hold the names"),
    "binary": (b"a,b\n\x00\x01", "The file is no text table: byte 4"),
    "formula": (b"a,b\n1,2\n=A1+B2,2\n", r"Row 3, column a holds a formula \(=A1\+B2\)"),
    "formula as a name": (b"=HYPERLINK(1),b\n1,2\n", "The name of column 1 is a formula"),
    "endless name": (b"a," + b"x" * 200_000 + b"\n1,2\n", "no readable table: field larger than"),
    "parquet": (b"PAR1 no parquet", "The Parquet file is damaged"),
    "excel": (b"PK\x03\x04 no workbook", "The workbook is damaged"),
    "many rows": (b"a,b\n" + b"1,2\n" * 30, "at most 20 rows, got 30"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence(name, monkeypatch):
    data, sentence = BAD[name]
    monkeypatch.setattr(tables, "MAX_ROWS", 20)
    with pytest.raises(InputError, match=sentence) as caught:
        read_table(data)
    assert "\n" not in str(caught.value)


def test_two_million_rows_are_refused_before_they_are_read(monkeypatch):
    monkeypatch.setattr(tables, "read_text", lambda *_: pytest.fail("was read"))
    with pytest.raises(InputError, match="at most 1,000,000 rows, got 2,000,000"):
        read_table(b"a,b\n" + b"1,2\n" * 2_000_000)


def test_formulas_of_a_workbook_need_values():
    import openpyxl

    book, buffer = openpyxl.Workbook(), io.BytesIO()
    for row in (["a", "b"], [1, "=A2*2"], [2, "=A3*2"]):
        book.active.append(row)
    book.save(buffer)
    with pytest.raises(InputError, match="formulas without values"):
        read_table(buffer.getvalue())


def test_a_sheet_is_chosen_by_name():
    buffer = io.BytesIO()
    with pd.ExcelWriter(buffer) as writer:
        for name, shift in (("one", 0), ("two", 10)):
            pd.DataFrame({"a": [1 + shift, 2], "b": [3, 4]}).to_excel(writer, sheet_name=name, index=False)
    assert read_table(buffer.getvalue(), sheet="two").frame["a"].tolist() == [11, 2]
    with pytest.raises(InputError, match="no sheet three, only one, two"):
        read_table(buffer.getvalue(), sheet="three")


def test_the_kind_of_a_column_can_be_changed_where_its_values_allow():
    found = table_of(pd.DataFrame({"stage": [1, 2, 3, 2] * 5, "word": ["a", "b", "1", "2"] * 5}))
    changed = found.with_kind("stage", "category")
    assert changed["stage"].levels == ("1", "2", "3") and found["stage"].kind == "number"
    assert changed.with_kind("stage", "number").frame["stage"].tolist() == found.frame["stage"].tolist()
    with pytest.raises(InputError, match="word holds values that are no numbers"):
        found.with_kind("word", "number")
    with pytest.raises(InputError, match="no column nothing"):
        found["nothing"]


def test_codes_of_many_digits_stay_apart_as_categories():
    codes = np.repeat([254837009, 254837010, 254837011], 10)
    found = table_of(pd.DataFrame({"code": codes, "x": range(30)})).with_kind("code", "category")
    assert found["code"].levels == ("254837009", "254837010", "254837011") == found["code"].levels
    problem = prepare(table_of(pd.DataFrame({"code": codes, "x": np.arange(30) % 7})), Plan("code", "classes", ("x",)))
    assert problem.labels == found["code"].levels


def test_too_many_categories_are_refused_before_they_fill_the_memory():
    frame = pd.DataFrame({"code": np.arange(200), "word": [f"w{k}" for k in range(200)], "y": ["a", "b"] * 100})
    for name in ("code", "word"):
        with pytest.raises(InputError, match=f"{name} has 200 different values; categories may have at most 100"):
            table_of(frame).with_kind(name, "category")
    wide = table_of(pd.DataFrame({"x": np.arange(60) % 7, "y": ["a", "b"] * 30}))
    with mock.patch.object(problem_module, "MOST_DESIGN_CELLS", 50), pytest.raises(InputError, match="become 1 with"):
        prepare(wide, Plan("y", "binary", ("x",)))
