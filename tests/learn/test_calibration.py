import math

import numpy as np
import pytest

from tomotutor.learn.calibration import at_temperature, expected_calibration_error, fit_temperature


def sample(n=4000, temperature=1.0, seed=0):
    """Logits of a calibrated model divided by a temperature, and labels drawn from the calibrated model."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, (n, 4))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    y = np.array([rng.choice(4, p=row) for row in p])
    z = z * temperature
    return z - np.log(np.exp(z).sum(1, keepdims=True)), y


@pytest.mark.parametrize("bins", [15, 4])
def test_calibration_error_against_a_loop_over_bins(bins):
    log_p, y = sample(300, 2.0)
    p = np.exp(log_p)
    expected = 0.0
    for b in range(bins):
        inside = [i for i in range(300) if b / bins < p[i].max() <= (b + 1) / bins]
        if inside:
            accuracy = sum(int(p[i].argmax() == y[i]) for i in inside) / len(inside)
            confidence = sum(p[i].max() for i in inside) / len(inside)
            expected += len(inside) / 300 * abs(accuracy - confidence)
    assert expected_calibration_error(p, y, bins) == pytest.approx(expected, rel=1e-12)


def test_calibration_error_at_the_edges():
    assert expected_calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0
    assert expected_calibration_error(np.array([[1.0, 0.0]]), np.array([1])) == 1
    assert math.isnan(expected_calibration_error(np.zeros((0, 2)), np.zeros(0, int)))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_an_overconfident_model_is_found(temperature):
    log_p, y = sample(temperature=temperature)
    found = fit_temperature(log_p, y)
    assert found == pytest.approx(temperature, rel=0.1)

    def nll(t):
        z = log_p / t
        return float(np.mean([np.log(np.exp(row).sum()) - row[c] for row, c in zip(z, y, strict=True)]))

    assert nll(found) <= min(nll(found * 1.02), nll(found / 1.02)) + 1e-9
    scaled = at_temperature(log_p, found)
    np.testing.assert_allclose(np.exp(scaled).sum(1), 1)
    if temperature != 1:
        assert expected_calibration_error(np.exp(scaled), y) < expected_calibration_error(np.exp(log_p), y) / 3


def test_a_few_right_answers_do_not_freeze_the_model():
    right = np.log([[0.9, 0.1], [0.2, 0.8]])
    assert fit_temperature(right, np.array([0, 1])) == pytest.approx(0.1)
    assert fit_temperature(right, np.array([1, 0])) == pytest.approx(10)
    assert fit_temperature(right[:0], np.zeros(0, int)) == 1
    assert math.isfinite(fit_temperature(np.array([[0.0, -np.inf]]), np.array([1])))
