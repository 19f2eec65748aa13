"""Arrays in files, read piece by piece: as NumPy indexes them, and with a sentence where the file became shorter."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.file_array import FileArray

X = np.arange(5 * 6 * 7, dtype=">i2").reshape(5, 6, 7)
INDICES = [
    np.s_[:],
    np.s_[2],
    np.s_[-1],
    np.s_[1:3],
    np.s_[:, 2],
    np.s_[..., 0:0][1:],
    np.s_[:, :, 3],
    np.s_[1:4, 2:5, 3:6],
    np.s_[4, 3, 2],
    np.s_[::2, ::-1, 1::3],
    np.s_[3:1],
    np.s_[-2:, -3:-1, -7:],
    np.s_[np.int64(1), :, -2],
    np.s_[::-2],
    np.s_[1, 4:0:-2, ::-1],
]


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (2, 1, 0)])
def test_it_is_indexed_as_numpy_does(tmp_path, index, axes):
    (tmp_path / "a").write_bytes(b"head" + X.tobytes())
    ours, theirs = FileArray(tmp_path / "a", X.dtype, X.shape, 4, axes), X.transpose(axes)
    assert (ours.shape, ours.dtype, ours.ndim, len(ours)) == (theirs.shape, theirs.dtype, 3, len(theirs))
    np.testing.assert_array_equal(ours[index], theirs[index])
    assert ours[index].shape == theirs[index].shape


def test_an_index_outside_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(X.tobytes())
    with pytest.raises(IndexError):
        FileArray(tmp_path / "a", X.dtype, X.shape)[5]


@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_files_of_either_order(tmp_path, order):
    np.save(tmp_path / "a.npy", np.asarray(X, order=order))
    ours = FileArray.of(tmp_path / "a.npy", np.load(tmp_path / "a.npy", mmap_mode="r"))
    np.testing.assert_array_equal(ours, X)
    np.testing.assert_array_equal(ours[1:3, 2], X[1:3, 2])


def test_a_file_that_became_shorter_is_told(tmp_path):
    (tmp_path / "a").write_bytes(X.tobytes())
    ours = FileArray(tmp_path / "a", X.dtype, X.shape)
    (tmp_path / "a").write_bytes(X.tobytes()[:100])
    np.testing.assert_array_equal(ours[0, :2], X[0, :2])
    with pytest.raises(TomoTutorError, match=r"a: it became shorter while it was open, and ends at byte 100; copy it"):
        ours[3]


@pytest.mark.parametrize("kind", ["tomogram", "stack", "array", "mrc_dir"])
def test_a_program_outlives_input_that_shrinks_under_it(tmp_path, kind):
    """In a program of its own: what a shrunken memory-mapped file does to a program is to kill it."""
    script = tmp_path / "shrink.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, sys
            import mrcfile
            import numpy as np
            from tomotutor.base.errors import TomoTutorError
            from tomotutor.data.sources import Source, open_pool

            kind = sys.argv[1]
            x = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
            if kind == "array":
                file, source = "a.npy", Source("array", "a.npy")
                np.save(file, x.reshape(8, 20, 20, 20))
            else:
                file = "t.mrc"
                with mrcfile.new(file, x.ravel()[:54000].reshape(60, 30, 30) if kind == "stack" else x):
                    pass
                with open("p.csv", "w") as table:
                    table.write("tomogram,x,y,z\\nt,20,20,8\\nt,20,20,31\\n")
                source = {
                    "tomogram": Source("particles", "p.csv", root=".", box=16, voxel_size=10.0),
                    "stack": Source("stack", file, ndim=3),
                    "mrc_dir": Source("mrc_dir", "."),
                }[kind]
            pool = open_pool(source)
            pool.read(np.arange(len(pool)))
            os.truncate(file, 20000)
            try:
                pool.read(np.array([len(pool) - 1]))
            except TomoTutorError as problem:
                print(problem)
            """
        )
    )
    done = subprocess.run([sys.executable, str(script), kind], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = "is cut short: 20000 bytes" if kind == "mrc_dir" else "it became shorter while it was open"
    assert told in done.stdout
