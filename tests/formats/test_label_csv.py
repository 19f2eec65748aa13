import pytest

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.label_csv import LabelRow, read_labels


def test_both_kinds_of_columns(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("item,class,annotator\nt:1,a,ann\nt:2,b,\n")
    assert read_labels(path) == [LabelRow("t:1", "a", "ann"), LabelRow("t:2", "b")]
    path.write_text("\ufefftomogram,star_row,class\r\nt 1,7, a \r\n\r\n", encoding="utf-8")
    assert read_labels(path) == [LabelRow("t 1:7", "a")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"item,label\n1,a\n", "found the columns item, label; expected item,class"),
        (b"", "found the columns none"),
        (b"item,class\n", "no rows below the header"),
        (b"item,class\n1,\n", "row 2 is incomplete"),
        (b"item,class\n1\n", "row 2 is incomplete"),
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
