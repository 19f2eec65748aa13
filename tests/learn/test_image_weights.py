"""Weights of photographs as a start for images: read under other names, and the network computes the same."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from tomotutor.base.errors import TomoTutorError
from tomotutor.cli import main
from tomotutor.learn.image_weights import image_card
from tomotutor.learn.models import build_pair
from tomotutor.learn.start import load_start
from tomotutor.session import Session
from tomotutor.session.session_file import SessionFile


def theirs(blocks=2, expand=False):
    """Return a state dict of random numbers with the names and shapes of torchvision's and timm's ResNet-18."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}

    def conv(name, out, channels, kernel):
        shape = (out, channels, kernel, kernel)
        tensors[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / (channels * kernel**2)) ** 0.5

    def norm(name, channels):
        for key in ("weight", "running_var"):
            tensors[f"{name}.{key}"] = 0.5 + torch.rand(channels, generator=generator)
        for key in ("bias", "running_mean"):
            tensors[f"{name}.{key}"] = 0.1 * torch.randn(channels, generator=generator)

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    before = 64
    for stage, channels in enumerate((64, 128, 256, 512), 1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            conv(f"{name}.conv1", channels, before, 3)
            norm(f"{name}.bn1", channels)
            conv(f"{name}.conv2", channels, channels, 3)
            norm(f"{name}.bn2", channels)
            if before != channels:
                conv(f"{name}.downsample.0", channels, before, 1)
                norm(f"{name}.downsample.1", channels)
            before = channels
    tensors["fc.weight"] = torch.randn(1000, 512, generator=generator)
    tensors["fc.bias"] = torch.randn(1000, generator=generator)
    return tensors


def their_embedding(tensors, x, blocks):
    """Return what the network of He et al. gives before its last layer, written down once more."""

    def norm(x, name):
        p = {key: tensors[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
        return F.batch_norm(x, *p.values(), eps=1e-5)

    def conv(x, name, stride=1, padding=1):
        return F.conv2d(x, tensors[f"{name}.weight"], stride=stride, padding=padding)

    x = F.max_pool2d(F.relu(norm(conv(x, "conv1", 2, 3), "bn1")), 3, 2, 1)
    for stage in range(1, 5):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            h = F.relu(norm(conv(x, f"{name}.conv1", stride), f"{name}.bn1"))
            h = norm(conv(h, f"{name}.conv2"), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in tensors:
                x = norm(conv(x, f"{name}.downsample.0", stride, 0), f"{name}.downsample.1")
            x = F.relu(h + x)
    return x.mean((2, 3))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "resnet18.safetensors"
    save_file(theirs(), path)
    return path


@pytest.mark.parametrize(("part", "blocks"), [("teacher", 2), ("student", 1)])
def test_the_networks_compute_what_the_file_says(file, part, blocks):
    pair = build_pair("resnet18", ndim=2, channels=3, edge=80, classes=4, width=1.0, seed=0)
    load_start(pair, file)
    x = torch.randn(2, 3, 80, 80, generator=torch.Generator().manual_seed(2))
    net = pair.parts()[part].eval()
    with torch.inference_mode():
        torch.testing.assert_close(net(x).embedding, their_embedding(load_file(file), x, blocks), rtol=1e-4, atol=1e-4)


def test_grey_images_are_red_green_and_blue_at_once(file):
    grey = build_pair("resnet18", ndim=2, channels=1, edge=80, classes=4, width=1.0, seed=0)
    load_start(grey, file)
    x = torch.randn(1, 1, 80, 80, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        found = grey.teacher.eval()(x).embedding
    expected = their_embedding(load_file(file), x.expand(-1, 3, -1, -1), 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_session_of_images_keeps_them_and_answers_from_its_first_labels(tmp_path, file, capsys):
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    x = rng.normal(size=(24, 72, 72)).astype(np.float32)
    x[y == 1, ::6] += 4  # stripes
    np.savez(tmp_path / "images.npz", x=x, y=y, classes=np.array(["plain", "striped"]))
    folder = tmp_path / "session"
    new = ["new", folder, "--array", tmp_path / "images.npz", "--ndim", 2, "--classes", "plain,striped"]
    assert main([*map(str, new), "--no-junk", "--start", str(file)]) == 0
    recipe = SessionFile.read(folder).recipe
    assert recipe.network.start == "pretrained" and recipe.network.width == 1 and recipe.query.cold_start == "typical"
    file.unlink()  # the session has a copy
    with Session(folder) as session:
        session.map_pool()
        for row in (0, 1, 2, 3):
            session.label(session.ids[row], ("plain", "striped")[y[row]])
        session.refresh_answers()
        assert (session.answers.class_N == y).mean() > 0.9


@pytest.mark.parametrize("wrong", ["cut", "other", "volumes", "pickle", "nan"])
def test_a_file_that_does_not_fit_is_refused_in_a_sentence(tmp_path, file, array_file, capsys, wrong):
    if wrong == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    if wrong == "other":
        save_file({"conv1.weight": torch.zeros(1)}, file)
    if wrong == "pickle":
        file = file.rename(file.with_suffix(".pth"))
    if wrong == "nan":
        save_file({**theirs(), "bn1.running_var": torch.full((64,), 1e6)}, file)
        array_file = tmp_path / "images.npz"
        np.savez(array_file, x=np.random.default_rng(0).normal(size=(8, 72, 72)).astype(np.float32))
    new = ["new", tmp_path / "s", "--array", array_file, "--classes", "ball,slab", "--start", file]
    new += ["--ndim", "2"] if wrong == "nan" else []
    assert main([*map(str, new)]) == 1
    said = capsys.readouterr().err
    expected = {"cut": "cannot be read", "other": "holds another network", "volumes": "images of more than 64 pixels"}
    expected |= {"pickle": "save its tensors as a .safetensors file", "nan": "no finite 16-bit ones"}
    assert expected[wrong] in said and "Traceback" not in said
    assert not (tmp_path / "s").exists()


def test_the_network_is_told_by_its_blocks(tmp_path, file):
    assert image_card(file)["teacher"] == "resnet18"
    save_file(theirs(blocks=3), tmp_path / "three.safetensors")
    with pytest.raises(TomoTutorError, match="holds another network"):
        image_card(tmp_path / "three.safetensors")
