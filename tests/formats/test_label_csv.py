import pytest

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.label_csv import LabelRow, guarded, read_labels


def test_both_kinds_of_columns(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("item,class,annotator\nt:1,a,ann\nt:2,b,\n")
    assert read_labels(path) == [LabelRow("t:1", "a", "ann"), LabelRow("t:2", "b")]
    path.write_text("\ufefftomogram,star_row,class\r\nt 1,7, a \r\n\r\n", encoding="utf-8")
    assert read_labels(path) == [LabelRow("t 1:7", "a")]


def test_the_same_said_twice_is_no_contradiction(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("item,class\nt:1,a\nt:1,a\n")
    assert read_labels(path) == [LabelRow("t:1", "a")] * 2


@pytest.mark.parametrize("name", ["+ribosome", "-", "=1+1", "@sum", "'+x", "''=x", "'quoted'", "plain", "a-b"])
def test_a_name_is_text_to_a_spreadsheet_and_comes_back(tmp_path, name):
    path = tmp_path / "labels.csv"
    path.write_text(f"item,class\n{guarded(name)},{guarded(name)}\n")
    assert read_labels(path) == [LabelRow(name, name)]
    assert guarded(name)[0] not in "=+-@"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"item,label\n1,a\n", "found the columns item, label; expected item,class"),
        (b"", "found the columns none"),
        (b"item,class\n", "no rows below the header"),
        (b"item,class\n1,\n", "row 2 is incomplete"),
        (b"item,class\n1\n", "row 2 is incomplete"),
        (b"tomogram,star_row,class\n,7,a\n", "row 2 is incomplete"),
        (b"item,class\n1,a,ann,b\n", r"row 2 has 4 cells \(1,a,ann,b\), the header 2"),
        (b"item,class,class\n1,a,b\n", "two of its columns have one name"),
        (b"item,class\n1,a\n\n2,b\n1,b\n", r"rows 2 and 5 give 1 two classes \(a and b\)"),
        (b"item,class\n" + b"x" * 100_000 + b",\n", "row 2 is incomplete .x{79}…"),
        (b"item,class\n\xff\xfe,a\n", "not a CSV file"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(TomoTutorError, match=message):
        read_labels(path)
    with pytest.raises(TomoTutorError, match="no such file"):
        read_labels(tmp_path / "gone.csv")
