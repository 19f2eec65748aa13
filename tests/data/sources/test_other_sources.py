import mrcfile
import numpy as np
import pytest
from PIL import Image

from helpers import write_mrc
from tomotutor.base.errors import TomoTutorError
from tomotutor.data.sources import Source, open_input, open_pool

RNG = np.random.default_rng(0)
VOLUMES = RNG.normal(size=(6, 8, 8, 8)).astype(np.float32)


def normalised(x):
    return (x - x.mean()) / x.std()


def test_stack_of_volumes(tmp_path):
    mrcfile.write(tmp_path / "s.mrc", VOLUMES)
    pool = open_pool(Source("stack", str(tmp_path / "s.mrc")))
    assert (pool.ids, pool.shape) == (("0", "1", "2", "3", "4", "5"), (1, 8, 8, 8))
    np.testing.assert_allclose(pool.read(np.array([4]))[0, 0], normalised(VOLUMES[4]), atol=1e-5)  # bright by default


def test_stack_of_images(tmp_path):
    images = RNG.normal(size=(5, 12, 10)).astype(np.float32)
    with mrcfile.new(tmp_path / "s.mrcs", images) as mrc:
        mrc.set_image_stack()
    assert open_pool(Source("stack", str(tmp_path / "s.mrcs"))).shape == (1, 12, 10)


def test_a_stack_that_could_be_either_must_be_told(tmp_path):
    with mrcfile.new(tmp_path / "s.mrc", VOLUMES.reshape(48, 8, 8)) as mrc:
        mrc.set_image_stack()
    with pytest.raises(TomoTutorError, match=r"48 slices of 8×8 are images or volumes; say so with --ndim"):
        open_pool(Source("stack", str(tmp_path / "s.mrc")))
    as_volumes = open_pool(Source("stack", str(tmp_path / "s.mrc"), ndim=3))
    np.testing.assert_allclose(as_volumes.read(np.array([5]))[0, 0], normalised(VOLUMES[5]), atol=1e-5)
    assert open_pool(Source("stack", str(tmp_path / "s.mrc"), ndim=2)).shape == (1, 8, 8)


def test_folder_of_volumes(tmp_path):
    for i, volume in enumerate(VOLUMES):
        write_mrc(tmp_path / ("a" if i < 3 else "b") / f"v{i}.mrc", volume)
    pool = open_pool(Source("mrc_dir", str(tmp_path)))
    assert pool.ids[:4] == ("a/v0.mrc", "a/v1.mrc", "a/v2.mrc", "b/v3.mrc")
    assert pool.tomogram_N.tolist() == ["a", "a", "a", "b", "b", "b"]
    np.testing.assert_allclose(pool.read(np.array([3]))[0, 0], normalised(VOLUMES[3]), atol=1e-5)
    write_mrc(tmp_path / "b" / "v5.mrc", VOLUMES[5][:4])
    with pytest.raises(TomoTutorError, match=r"v5\.mrc: 8×8×4 voxels, but v0\.mrc has 8×8×8"):
        pool.read(np.array([5]))
    with pytest.raises(TomoTutorError, match="no such folder"):
        open_pool(Source("mrc_dir", str(tmp_path / "gone")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(TomoTutorError, match=r"no \.mrc or \.em files"):
        open_pool(Source("mrc_dir", str(tmp_path / "empty")))


@pytest.mark.parametrize(
    ("shape", "ndim", "item"),
    [
        ((3, 8, 8, 8), 0, (1, 8, 8, 8)),
        ((3, 8, 9), 0, (1, 8, 9)),
        ((3, 8, 9, 3), 0, (3, 8, 9)),
        ((3, 8, 8, 4), 3, (1, 8, 8, 4)),
        ((3, 8, 8, 5), 2, (5, 8, 8)),
        ((3, 6, 7, 8, 1), 3, (1, 6, 7, 8)),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_of_every_shape(tmp_path, shape, ndim, item, suffix):
    x = RNG.normal(size=shape).astype(np.float32)
    path = tmp_path / f"a.{suffix}"
    np.save(path, x) if suffix == "npy" else np.savez(path, x=x)
    pool = open_pool(Source("array", str(path), ndim=ndim))
    assert pool.shape == item
    cut = pool.cut(1).values_C
    np.testing.assert_array_equal(cut, np.moveaxis(x[1], -1, 0) if len(item) - 1 == x.ndim - 2 else x[1][None])


def test_colour_images_are_normalised_by_channel_over_the_set(tmp_path):
    x = RNG.integers(0, 256, (20, 8, 8, 3), np.uint8)
    np.save(tmp_path / "a.npy", x)
    source = Source("array", str(tmp_path / "a.npy"))
    opened = open_input(source).with_statistics()
    source = opened.source
    np.testing.assert_allclose(source.preparation.mean, x.reshape(-1, 3).mean(0))
    np.testing.assert_allclose(source.preparation.std, x.reshape(-1, 3).std(0))
    got = open_pool(source).read(np.arange(20))
    np.testing.assert_array_equal(opened.pool.read(np.arange(20)), got)
    np.testing.assert_allclose(got.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(got.std((0, 2, 3)), 1, atol=1e-5)


def test_bad_arrays(tmp_path):
    def check(message, source=None):
        with pytest.raises(TomoTutorError, match=message):
            open_pool(source or Source("array", str(tmp_path / "a.npz")))

    np.savez(tmp_path / "a.npz", volumes=VOLUMES, other=np.zeros(3))
    check("no array called 'x', but volumes, other; say which holds the items with --key")
    assert len(open_pool(Source("array", str(tmp_path / "a.npz"), key="volumes"))) == 6
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 4)))
    check(r"x has the shape \(3, 4\)")
    np.savez(tmp_path / "a.npz", x=np.zeros((0, 8, 8, 8)))
    check("x is empty")
    np.savez(tmp_path / "a.npz", x=np.array(["a", "b"]))
    check("expected real numbers")
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    check("not a NumPy file that can be read")  # nothing is unpickled
    (tmp_path / "a.npz").write_bytes(b"PK rubbish")
    check("not a NumPy file")
    check("no such file", Source("array", str(tmp_path / "gone.npy")))


def test_an_image_is_never_postscript(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **how: started.append(args))
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(TomoTutorError, match=r"a\.png: damaged, or not an image"):
        open_pool(Source("images", str(tmp_path)))
    assert not started


def test_folder_of_images(tmp_path):
    pixels = RNG.integers(0, 256, (4, 10, 12, 3), np.uint8)
    for i, p in enumerate(pixels):
        (tmp_path / f"class{i % 2}").mkdir(exist_ok=True)
        Image.fromarray(p).save(tmp_path / f"class{i % 2}" / f"{i}.png")
    pool = open_pool(Source("images", str(tmp_path)))
    assert pool.ids == ("class0/0.png", "class0/2.png", "class1/1.png", "class1/3.png")
    np.testing.assert_array_equal(pool.cut(2).values_C, np.moveaxis(pixels[1], -1, 0))
    Image.fromarray(pixels[0, :5]).save(tmp_path / "class0" / "2.png")
    with pytest.raises(TomoTutorError, match=r"2\.png: 12×5 pixels in 3 channels, but 0\.png has 12×10"):
        pool.read(np.array([1]))
    (tmp_path / "class0" / "2.png").write_bytes(b"no image")
    with pytest.raises(TomoTutorError, match=r"2\.png: damaged, or not an image"):
        pool.read(np.array([1]))


def test_real_ribosomes_open(data):
    pool = open_pool(Source("array", str(data / "ribosome" / "ribo70S_real_40x32.npz"), key="subtomo", voxel_size=12.0))
    assert (len(pool), pool.shape) == (40, (1, 32, 32, 32))
    assert np.isfinite(pool.read(np.arange(40))).all()


@pytest.mark.parametrize(
    ("path", "old", "moved"),
    [
        ("/lab/data/p.star", "/lab", "/new/data/p.star"),
        ("/lab/data/p.star", "/lab/data/", "/new/p.star"),
        ("/lab/data/p.star", "/lab/da", "/lab/data/p.star"),
        ("D:\\lab\\data\\p.star", "d:\\lab", "/new/data/p.star"),
    ],
)
def test_paths_move_with_their_folder(path, old, moved):
    source = Source("stack", path, tomogram_dir="/else/where").relocated(old, "/new")
    assert (source.path, source.where.tomogram_dir) == (moved, "/else/where")
