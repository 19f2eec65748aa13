import mrcfile
import numpy as np
import pytest

from tomotutor.base.errors import TomoTutorError
from tomotutor.formats.volumes.mrc import open_mrc

VOLUME = np.arange(2 * 3 * 4).reshape(2, 3, 4)


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32", "uint16", "float16"])
def test_every_real_mode_reads_as_mrcfile_reads_it(tmp_path, dtype):
    path = tmp_path / "a.mrc"
    with mrcfile.new(path, VOLUME.astype(dtype)) as mrc:
        mrc.voxel_size = 7.5
    opened = open_mrc(path)
    assert opened.data.dtype == dtype
    assert opened.voxel_size_angst == pytest.approx(7.5)
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(opened.data, mrc.data)


def test_big_endian_and_extended_header(tmp_path):
    path = tmp_path / "a.mrc"
    with mrcfile.new(path, VOLUME.astype("int16")) as mrc:
        mrc.set_extended_header(np.zeros(96, "V1"))
    raw = bytearray(path.read_bytes())
    words = np.frombuffer(raw[:1024], "<i4").copy()
    header = bytearray(words.byteswap().tobytes())
    header[104:108], header[208:212] = raw[104:108], raw[208:212]  # text stays text
    header[212:216] = b"\x11\x11\x00\x00"
    header[224:1024] = raw[224:1024]
    body = np.frombuffer(raw[1024 + 96 :], "<i2").byteswap().tobytes()
    path.write_bytes(bytes(header) + bytes(96) + body)
    np.testing.assert_array_equal(open_mrc(path).data, VOLUME)


def test_stack_of_volumes_is_4d(tmp_path):
    stack = np.random.default_rng(0).normal(size=(5, 4, 4, 4)).astype("float32")
    mrcfile.write(tmp_path / "stack.mrc", stack)
    opened = open_mrc(tmp_path / "stack.mrc")
    assert opened.is_volume_stack
    np.testing.assert_array_equal(opened.data, stack)


def test_errors_name_the_file_and_the_mend(tmp_path):
    with pytest.raises(TomoTutorError, match=r"gone\.mrc: no such file"):
        open_mrc(tmp_path / "gone.mrc")
    good = tmp_path / "good.mrc"
    mrcfile.write(good, VOLUME.astype("float32"))
    short = tmp_path / "short.mrc"
    short.write_bytes(good.read_bytes()[:-10])
    with pytest.raises(TomoTutorError, match=r"short\.mrc: the file is cut short: 1110 bytes, .* needs 1120"):
        open_mrc(short)
    head = tmp_path / "head.mrc"
    head.write_bytes(good.read_bytes()[:500])
    with pytest.raises(TomoTutorError, match=r"head\.mrc: damaged, or not an MRC file that can be read"):
        open_mrc(head)
    text = tmp_path / "text.mrc"
    text.write_text("this is no volume " * 100)
    with pytest.raises(TomoTutorError, match=r"text\.mrc: damaged, or not an MRC file that can be read"):
        open_mrc(text)
    mrcfile.write(tmp_path / "complex.mrc", VOLUME.astype("complex64"))
    with pytest.raises(TomoTutorError, match=r"complex\.mrc: MRC mode 4 holds complex voxels; expected a real mode"):
        open_mrc(tmp_path / "complex.mrc")


def test_a_header_of_zeros_ends_in_one_sentence_and_no_warning(tmp_path, recwarn):
    raw = bytearray(1024)
    raw[:16] = np.array([8, 8, 8, 2], "<i4").tobytes()
    raw[208:216] = b"MAP \x44\x44\0\0"
    (tmp_path / "zeros.mrc").write_bytes(raw)
    with pytest.raises(TomoTutorError, match="the file is cut short"):
        open_mrc(tmp_path / "zeros.mrc")
    assert not [one for one in recwarn if issubclass(one.category, RuntimeWarning)]


def test_damaged_headers_end_in_our_error(tmp_path):
    good = tmp_path / "good.mrc"
    mrcfile.write(good, VOLUME.astype("float32"))
    raw = good.read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "fuzzed.mrc"
    for _ in range(300):
        broken = bytearray(raw)
        for position in rng.integers(0, 256, 4):
            broken[position] = rng.integers(256)
        path.write_bytes(broken)
        try:
            assert open_mrc(path).data.size > 0
        except TomoTutorError as problem:
            assert "fuzzed.mrc" in str(problem)
