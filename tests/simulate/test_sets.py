"""Sets of subtomograms and tomograms: truth, statistics, files."""

import csv
import hashlib
import tomllib

import mrcfile
import numpy as np
import pytest
import starfile
import torch

from tomotutor.base.errors import TomoTutorError
from tomotutor.cli import main
from tomotutor.data.sources import Source, open_pool
from tomotutor.formats.volumes.mrc import open_mrc
from tomotutor.session import Session
from tomotutor.session.sample import CLASSES, create_sample_session, sample_data
from tomotutor.simulate import COMPLEXES, Imaging, SubtomogramSettings, TomogramSettings, find_structures, make_density
from tomotutor.simulate import simulate_subtomograms as subtomograms
from tomotutor.simulate import simulate_tomograms as tomograms
from tomotutor.simulate.densities import stack_densities
from tomotutor.simulate.optics import wedge
from tomotutor.simulate.subtomograms import class_sizes, draw_classes, make_subtomograms

SMALL = SubtomogramSettings(per_class=6, false_picks=0.2, membrane=True, gold=True, seed=4)


def pool_of(folder):
    return open_pool(Source("particles", str(folder / "particles.star"), str(folder / "tomograms.star"), str(folder)))


def digests(folder):
    return {
        p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_a_set_opens_as_a_session_and_its_bytes_depend_on_the_seed_alone(tmp_path):
    for name, batch in (("a", 16), ("b", 5)):
        classes = subtomograms(tmp_path / name, find_structures([]), SMALL, Imaging(snr=0.05), batch=batch)
    assert classes == [*COMPLEXES, "junk"]
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    subtomograms(tmp_path / "c", find_structures([]), SubtomogramSettings(per_class=6, seed=5), Imaging(snr=0.05))
    assert digests(tmp_path / "a") != digests(tmp_path / "c")

    file = tmp_path / "a" / "subtomograms.mrc"
    with mrcfile.mmap(file) as mrc:
        assert mrc.is_volume_stack()
        assert mrc.data.dtype == np.float16
        assert float(mrc.header.rms) == pytest.approx(float(mrc.data.astype(float).std()), rel=1e-4)
    with (tmp_path / "a" / "truth.csv").open() as handle:
        truth = [row["class"] for row in csv.DictReader(handle)]
    assert [truth.count(c) for c in classes] == [6, 6, 6, 6, 6]
    stars = starfile.read(tmp_path / "a" / "particles.star")
    assert len(stars["particles"]) == len(truth) == 30
    numbers = {name: k for k, name in enumerate(classes, start=1)}
    assert stars["particles"]["rlnClassNumber"].tolist() == [numbers[name] for name in truth]
    assert stars["optics"]["rlnImagePixelSize"].item() == 10
    record = tomllib.loads((tmp_path / "a" / "simulate.toml").read_text())
    assert (record["subtomograms"]["seed"], record["imaging"]["snr"], len(record["classes"])) == (4, 0.05, 4)
    pool = open_pool(Source("stack", str(file)))
    assert (len(pool), pool.shape, pool.voxel_size_angst) == (30, (1, 32, 32, 32), 10.0)
    with mrcfile.mmap(file) as mrc:  # protein is bright, as stacks are taken to be
        assert np.corrcoef(pool.read(np.array([3]))[0, 0].ravel(), mrc.data[3].astype(float).ravel())[0, 1] > 0.99


@pytest.mark.parametrize("projections", [False, True])
def test_the_snr_is_what_was_asked_for(projections):
    """var(signal) / var(noise), both as they are in the box: at a huge SNR there is nearly the signal alone, the same
    at both.
    """
    fine = stack_densities([make_density(s, 32, 10.0) for s in find_structures(["ribosome", "chaperonin"])])
    settings = SubtomogramSettings(per_class=4, seed=2)
    class_N, items = np.arange(8) % 2, np.arange(8)
    clean = make_subtomograms(fine, class_N, items, settings, Imaging(snr=1e8, projections=projections)).x_NDHW
    noisy = make_subtomograms(fine, class_N, items, settings, Imaging(snr=0.05, projections=projections)).x_NDHW
    for s, x in zip(clean.astype(float), noisy.astype(float), strict=True):
        signal = (s * x).mean() / (s * s).mean() * s  # the noise is independent of the signal
        assert signal.var() / (x - signal).var() == pytest.approx(0.05, rel=0.25)


def test_noise_and_signal_miss_the_same_wedge(tmp_path):
    tomograms(
        tmp_path / "t",
        find_structures([]),
        TomogramSettings(shape=(48, 96, 100), particles=8, mode=2, seed=3),
        Imaging(snr=0.1),
    )
    volume = open_mrc(tmp_path / "t" / "tomograms" / "tomo_1.mrc").data[:].astype(float)
    power = np.abs(np.fft.rfftn(volume)) ** 2
    measured = wedge(volume.shape, (-60, 60)).numpy() > 0
    assert power[~measured].mean() < 1e-6 * power[measured].mean()


def test_particles_are_where_the_list_says_in_the_pose_it_says(tmp_path):
    """Without noise and wedge, the density turned by the list's angles, RELION's way, is what lies at the list's
    coordinates.
    """
    imaging = Imaging(snr=1e6, tilt_range_deg=(-89.9, 89.9), ctf=False)
    settings = TomogramSettings(shape=(64, 100, 120), count=2, particles=8, pick_error_voxel=0.0, mode=2, seed=1)
    placed = tomograms(tmp_path / "t", find_structures(["ribosome"]), settings, imaging)
    assert [name for name, _, _ in placed] == ["tomo_1", "tomo_2"]
    folder = tmp_path / "t"
    pool = pool_of(folder)
    table = starfile.read(folder / "particles.star")["particles"]
    assert len(table) == len(pool) == sum(picks for _, picks, _ in placed)
    reference = make_density(find_structures(["ribosome"])[0], 32, 10.0).map_DHW
    ball = np.linalg.norm(np.indices((32, 32, 32)) - 16, axis=0) < 10
    box = np.argwhere(ball) - 16
    xyz_angst = table[[f"rlnCenteredCoordinate{a}Angst" for a in "XYZ"]].to_numpy()
    right, mirrored = [], []
    for row in range(len(table)):
        a, b, g = np.deg2rad(table.loc[row, ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(float))
        ca, sa, cb, sb, cg, sg = (f(v) for v in (a, b, g) for f in (np.cos, np.sin))
        matrix = np.array(
            [
                [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
                [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
                [sb * ca, sb * sa, cb],
            ]
        )
        size = np.array((120, 100, 64))
        offset = (size / 2 + xyz_angst[row] / 10) - np.floor(size / 2 + xyz_angst[row] / 10 + 0.5)
        at = ((box[:, ::-1] - offset) @ matrix)[:, ::-1] + 16  # reference point of each voxel
        nearest = tuple(np.clip(np.rint(at).astype(int), 0, 31).T)
        seen = pool.read(np.array([row]))[0, 0][ball]
        right.append(np.corrcoef(reference[nearest], seen)[0, 1])
        mirrored.append(np.corrcoef(reference[:, ::-1][nearest], seen)[0, 1])
    assert min(right) > 0.85
    assert np.mean(right) > np.mean(mirrored) + 0.2


@pytest.mark.parametrize("mode", [0, 1, 12])
def test_modes_and_protein_is_dark(tmp_path, mode):
    settings = TomogramSettings(shape=(40, 64, 70), particles=3, pick_error_voxel=0.0, mode=mode)
    tomograms(tmp_path / "t", find_structures(["ferritin"]), settings, Imaging(snr=50.0, ctf=False))
    mrc = open_mrc(tmp_path / "t" / "tomograms" / "tomo_1.mrc")
    if mode != 12:  # its deviation of float16 overflows
        assert mrcfile.validate(tmp_path / "t" / "tomograms" / "tomo_1.mrc")
    assert (mrc.data.shape, mrc.voxel_size_angst, mrc.is_volume_stack) == ((40, 64, 70), 10.0, False)
    assert mrc.data.dtype == {0: np.int8, 1: np.int16, 12: np.float16}[mode]
    pool = open_pool(
        Source(
            "particles",
            str(tmp_path / "t" / "particles.star"),
            str(tmp_path / "t" / "tomograms.star"),
            str(tmp_path / "t"),
        )
    )
    average = pool.read(np.arange(len(pool))).mean((0, 1))
    radius = np.linalg.norm(np.indices((32, 32, 32)) - 16, axis=0) * 10
    assert (
        average[np.abs(radius - 48) < 10].mean() > 1 > average[radius > 100].mean() + 0.5
    )  # the pool turns dark into bright


def test_crowds_do_not_overlap_and_what_finds_no_room_is_left_out(tmp_path, capsys):
    settings = "--shape 60,84,84 --particles 150 --false-picks 0.2 --membrane 1 --gold 2 --device cpu --mode 2"
    settings += " --pick-error 0.5"
    structures = ["--structures", "ferritin"]
    assert main(["simulate", "tomograms", "--out", str(tmp_path / "t"), *settings.split(), *structures]) == 0
    told = capsys.readouterr().out
    rows = (tmp_path / "t" / "truth.csv").read_text().split()[1:]
    assert f"tomo_1: {len(rows)} picks" in told
    assert f"{150 - len(rows)} found no room" in told
    assert 20 < len(rows) < 150
    labels = np.array([row.split(",")[2] for row in rows])
    table = starfile.read(tmp_path / "t" / "particles.star")["particles"]
    xyz = table[[f"rlnCenteredCoordinate{a}Angst" for a in "XYZ"]].to_numpy()[labels == "ferritin"]
    distance = np.linalg.norm(xyz[:, None] - xyz, axis=-1)[np.triu_indices(len(xyz), 1)]
    assert distance.min() > 110  # 120 Å wide, less the pick error
    pool = open_pool(
        Source(
            "particles",
            str(tmp_path / "t" / "particles.star"),
            str(tmp_path / "t" / "tomograms.star"),
            str(tmp_path / "t"),
        )
    )
    assert not pool.padded_N.any()


def test_classes_are_imbalanced_as_asked():
    assert class_sizes(3, 100, 4.0) == [100, 50, 25]
    class_N = draw_classes(SubtomogramSettings(per_class=100, imbalance=4.0, false_picks=0.5), 3)
    assert np.bincount(class_N + 1).tolist() == [175, 100, 50, 25]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--per-class", "0"], "per class 0: expected 1 at least"),
        (["--membrane"], "give their share with --false-picks"),
        (["--box", "31"], "box 31: expected an even number"),
        (["--structures", "dragon"], "dragon: no such file or folder"),
        (["--device", "abacus"], "--device abacus: torch cannot use it"),
        (["--tilt-range", "-60,-70"], "tilt range -60,-70: expected two tilts"),
        (["--seed", "-1"], "seed -1: expected 0 or more"),
        (["--batch", "0"], "batch 0: expected 1 at least"),
        (["--box", "16"], "does not fit a box of 16 voxels"),
    ],
)
def test_bad_settings_are_one_sentence_and_leave_nothing(tmp_path, capsys, arguments, message):
    assert main(["simulate", "subtomograms", "--out", str(tmp_path / "new"), *arguments]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_interrupted_leaves_nothing_and_nothing_is_overwritten(tmp_path, capsys):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        subtomograms(
            tmp_path / "a", find_structures(["ferritin"]), SubtomogramSettings(per_class=20), Imaging(), report=stop
        )
    with pytest.raises(KeyboardInterrupt):
        tomograms(
            tmp_path / "a",
            find_structures(["ferritin"]),
            TomogramSettings(shape=(42, 60, 60), particles=2),
            Imaging(),
            report=stop,
        )
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "precious").write_text("x")
    assert main(["simulate", "subtomograms", "--out", str(tmp_path / "a"), "--per-class", "1"]) == 1
    assert "it exists already" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["precious"]
    with pytest.raises(TomoTutorError, match=r"boxes of 32 voxels and the pick error need 41 along each axis"):
        TomogramSettings(shape=(40, 60, 60))


def test_an_item_depends_on_its_number_alone():
    fine = torch.zeros(1, 64, 64, 64)
    fine[0, 30:34, 30:34, 30:34] = 1
    made = make_subtomograms(fine, np.zeros(3, int), np.array([7, 2, 10**6]), SubtomogramSettings(), Imaging())
    assert made.x_NDHW.shape == (3, 32, 32, 32)
    again = make_subtomograms(fine, np.zeros(1, int), np.array([2]), SubtomogramSettings(), Imaging())
    # not bit for bit: on some processors an FFT of three boxes rounds otherwise than one of a single box
    np.testing.assert_allclose(made.x_NDHW[1], again.x_NDHW[0], atol=1e-4)


def test_the_sample_session_opens(tmp_path):
    made = create_sample_session(tmp_path / "s")
    assert made.items == 300
    assert (made.padded, made.duplicates) == (0, 0)
    session = Session(tmp_path / "s", write=False)
    assert session.classes == (*CLASSES, "junk")
    assert session.pool.shape == (1, 32, 32, 32)


def test_sample_data_is_small_and_says_how_it_was_made():
    files = [p for p in sample_data().rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 12e6
    assert max(p.stat().st_size for p in files) < 5e6
    record = tomllib.loads((sample_data() / "simulate.toml").read_text())
    assert [c["name"] for c in record["classes"]] == list(CLASSES) == list(COMPLEXES)
    assert (sample_data() / "README.md").is_file()
    assert set(np.load(sample_data() / "images.npz")["classes"]) == set(CLASSES)
