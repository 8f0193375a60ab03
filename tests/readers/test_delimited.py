"""CSV and TSV: a row a line, or a quoted record; a broken row costs itself."""

from molecule_files import read, write

from dgl_moleblend.readers import delimited


def test_quoted_line_ends_and_the_lines_after_them(tmp_path):
    text = 'smiles,note\nC,"two\nlines"\nCC,"three\r\n\r\nlines, ""quoted"""\nCCC,\n'
    records = read(write(tmp_path, "a.csv", text))
    assert [(r.row, r.line, r.smiles, r.error) for r in records] == [
        (0, 2, "C", None),
        (1, 4, "CC", None),
        (2, 7, "CCC", None),
    ]


def test_an_open_quote_costs_only_its_own_line(tmp_path):
    text = 'smiles,note\nC,a\n"CC,b\nCCC,c\nCCCC,"d"\nCCCCC,e\n'
    records = read(write(tmp_path, "a.csv", text))
    assert [(r.line, r.smiles, r.stage) for r in records] == [
        (2, "C", None),
        (3, "", "read"),
        (4, "CCC", None),
        (5, "CCCC", None),
        (6, "CCCCC", None),
    ]


def test_an_open_quote_in_a_long_file(tmp_path):
    lines = ["C,a"] * (3 * delimited.MAX_RECORD_LINES)
    lines[10] = 'C,"a'
    records = read(write(tmp_path, "a.csv", "smiles,note\n" + "\n".join(lines)))
    assert len(records) == len(lines)
    assert [r.row for r in records if r.error] == [10]
    assert [r.line for r in records] == list(range(2, len(lines) + 2))


def test_rows_of_another_width(tmp_path):
    records = read(write(tmp_path, "a.csv", "id,smiles,y\n1,C,0\n2,CC\n3,CCC,0,9\n4,CCCC,0,,\n\n5,C,1\n"))
    assert [r.error for r in records] == [
        None,
        "the row has 2 fields, the header 3",
        "the row has 4 fields, the header 3",
        None,
        None,
    ]
    assert [r.line for r in records] == [2, 3, 4, 5, 7], "an empty line is no row, as pandas has it"


def test_a_header_alone_is_no_rows(tmp_path):
    assert read(write(tmp_path, "a.csv", "smiles,y\n"), task_columns=["y"]) == []
