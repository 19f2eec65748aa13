import cmath
import math

import numpy as np
import pytest

from tomotutor.data.resample import low_pass, low_pass_margin, resample, resampling_matrix


def fourier_crop_by_hand(x, position, step):
    """The discrete Fourier series of x below the coarser Nyquist frequency, term by term."""
    n = len(x)
    limit = n * min(1.0, 1.0 / step) / 2
    total = 0
    for k in range(-n, n + 1):
        if abs(k) <= limit + 1e-9:
            coefficient = sum(x[i] * cmath.exp(-2j * math.pi * k * i / n) for i in range(n)) / n
            total += (
                coefficient * cmath.exp(2j * math.pi * k * position / n) * (0.5 if abs(abs(k) - limit) < 1e-9 else 1)
            )
    return total


@pytest.mark.parametrize("size", [12, 13, 20])
@pytest.mark.parametrize("step", [2.0, 1.37, 1.0, 0.5, 0.8])
def test_each_resampled_value_is_the_truncated_fourier_series(size, step):
    x = np.random.default_rng(size).normal(size=size)
    position = 3.21 + np.arange(5) * step
    expected = [fourier_crop_by_hand(x, p, step) for p in position]
    assert max(abs(e.imag) for e in expected) < 1e-12
    np.testing.assert_allclose(resampling_matrix(size, position, step) @ x, np.real(expected), atol=1e-12)


def test_half_the_size_is_numpys_fourier_cropping():
    volume = np.random.default_rng(0).normal(100, 1, size=(16, 24, 32))
    spectrum = np.fft.fftshift(np.fft.fftn(volume))[4:12, 6:18, 8:24]
    spectrum[0], spectrum[:, 0], spectrum[:, :, 0] = 0, 0, 0  # the cropped Nyquist terms: numpy's have no partner
    expected = np.fft.ifftn(np.fft.ifftshift(spectrum)).real / 8
    found = resample(volume, tuple(2.0 * np.arange(n // 2) for n in volume.shape), 2.0)
    spectrum = np.fft.fftshift(np.fft.fftn(found))
    spectrum[0], spectrum[:, 0], spectrum[:, :, 0] = 0, 0, 0
    np.testing.assert_allclose(np.fft.ifftn(np.fft.ifftshift(spectrum)).real, expected, atol=1e-4)


def test_padding_keeps_the_samples_and_constants_stay():
    volume = np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32)
    finer = resample(volume, (np.arange(18) / 2,) * 3, 0.5)
    np.testing.assert_allclose(finer[::2, ::2, ::2], volume, atol=1e-5)
    np.testing.assert_allclose(
        resample(np.full((8, 8, 8), 60000, np.uint16), (np.arange(5) * 1.3,) * 3, 1.3), 60000, rtol=1e-6
    )


def test_low_pass_has_the_documented_edge():
    n, resolution = 40, 5.0
    for k in range(21):
        wave = np.cos(2 * np.pi * k * np.arange(n) / n)
        for axis in range(3):
            shape = [1, 1, 1]
            shape[axis] = n
            volume = np.broadcast_to(wave.reshape(shape), (n, n, n)) + 7.0
            found = (low_pass(volume, resolution) - 7).reshape(-1)
            f, f0 = k / n, 1 / resolution
            if f <= 0.75 * f0:
                expected = 1.0
            elif f < 1.25 * f0:
                expected = (1 + math.cos(math.pi * (f - 0.75 * f0) / (0.5 * f0))) / 2
            else:
                expected = 0.0
            np.testing.assert_allclose(found, expected * (volume - 7).reshape(-1), atol=2e-5)


def test_the_margin_makes_a_filtered_cut_like_a_cut_of_the_filtered():
    volume = np.random.default_rng(0).normal(size=(90, 90, 90)).astype(np.float32)
    margin = low_pass_margin(5.0)
    part = slice(35 - margin, 51 + margin)
    found = low_pass(volume[part, part, part], 5.0)[margin:-margin, margin:-margin, margin:-margin]
    whole = low_pass(volume, 5.0)[35:51, 35:51, 35:51]
    assert np.sqrt(((found - whole) ** 2).mean()) < 0.02 * whole.std()
    alone = low_pass(volume[35:51, 35:51, 35:51], 5.0)
    assert np.sqrt(((alone - whole) ** 2).mean()) > 0.2 * whole.std()  # which is why it is there
