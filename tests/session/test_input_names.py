"""Names of added inputs are folders of the session, and nothing else."""

import numpy as np
import pytest

from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import Source
from tomotutor.session.inputs import Input, open_new


@pytest.mark.parametrize("prefix", ["..", ".", "/abs", "a/../../b", "..\\b", "c:", "a\0b"])
def test_a_name_from_a_database_stays_inside_the_session(prefix):
    with pytest.raises(TomoTutorError, match="an added input is called"):
        Input(prefix, Source("array", "x.npy"))


def test_added_files_of_one_name_get_names_of_their_own(tmp_path):
    prefixes = [""]
    for folder in ("one", "two", "three"):
        path = tmp_path / folder / ("a b.npy" if folder == "three" else "a_b.npy")
        path.parent.mkdir()
        np.save(path, np.zeros((2, 8, 8, 8), np.float32))
        source = Source("array", str(path))
        prefixes.append(open_new(source, source, prefixes)[0].prefix)
    assert prefixes == ["", "a_b", "a_b-2", "a_b-3"]
