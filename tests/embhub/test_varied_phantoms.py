"""Varied phantoms: the same for the same seed, different from patient to patient, shapes where the words say."""

from __future__ import annotations

import numpy as np
import pytest

from embhub.phantoms import varied
from embhub.phantoms.coordinates import Plane, Pose, blurred
from embhub.phantoms.findings import HELD_OUT, MODALITIES, SIDES, Finding, is_held_out, target_finding
from tests.support.quick import others_thorough, quick


def grey(phantom: varied.VariedPhantom) -> np.ndarray:
    return phantom.image.astype(float).mean(2)


@pytest.mark.parametrize("modality", others_thorough(MODALITIES, ("prostate",)))
def test_one_seed_one_phantom_and_one_patient_one_body(modality: str) -> None:
    first, again = (varied.draw(modality, (), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert first.image.shape == (128, 128, 3)
    assert first.image.dtype == np.uint8
    rng = np.random.default_rng(1)
    same = [grey(varied.draw(modality, (), rng, patient=7)) for _ in range(6)]
    other = [grey(varied.draw(modality, (), rng, patient=patient)) for patient in range(20, 26)]
    assert np.mean([distance(a, b) for a in same for b in same if a is not b]) < 0.8 * np.mean(
        [distance(a, b) for a in same for b in other]
    )


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """One minus the correlation of two pictures smoothed by two pixels: exposure and grain count for nothing."""
    first, second = (blurred(picture.astype(np.float32), 2.0).ravel() for picture in (one, other))
    return float(1 - np.corrcoef(first, second)[0, 1])


@pytest.mark.parametrize(("modality", "simpler"), [("cxr", 0.04566), ("prostate", 0.07526)])
def test_normals_vary_more_than_those_of_64_pixels(modality: str, simpler: float) -> None:
    """`simpler` was measured on 40 of the simpler phantoms that commit 6c0314db draws, with this seed."""
    rng = np.random.default_rng(3)
    drawn = [grey(varied.draw(modality, (), rng, side=64)) / 255 for _ in range(40)]
    assert np.stack(drawn).std(0).mean() > 1.5 * simpler


@pytest.mark.parametrize("shape", quick(varied.SHAPES[:2], thorough=varied.SHAPES[2:]))
@pytest.mark.parametrize("modality", quick(MODALITIES[:1], thorough=MODALITIES[1:]))
def test_a_finding_shows_in_its_tone_on_its_side(modality: str, shape: str) -> None:
    for tone, sign in (("dark", -1), ("bright", 1)):
        for side in SIDES:
            finding = Finding(shape, tone, "large", "sharp", "middle", side)
            contrasts, sides = [], []
            for patient in range(6):
                with_it = varied.draw(modality, (finding,), np.random.default_rng(patient), patient=patient)
                inside, round_it = with_it.mask > 0.9, (with_it.mask == 0) & (blurred(with_it.mask, 4.0) > 0.05)
                assert inside.sum() > 30
                contrasts.append(sign * (grey(with_it)[inside].mean() - grey(with_it)[round_it].mean()))
                sides.append((np.nonzero(inside)[1].mean() > 64) == (side == "left"))
            assert np.mean(contrasts) > 25, (tone, side)
            assert all(sides), (tone, side)


def test_a_ring_has_a_hole_and_a_line_is_thin() -> None:
    def mask(shape: str) -> np.ndarray:
        finding = Finding(shape, "bright", "large", "sharp", "middle", "left")
        return varied.draw("histology", (finding,), np.random.default_rng(4), patient=1).mask > 0.5

    rows, columns = np.nonzero(mask("ring"))
    middle = int(rows.mean()), int(columns.mean())
    assert not mask("ring")[middle]
    assert mask("spot")[tuple(int(places.mean()) for places in np.nonzero(mask("spot")))]
    assert mask("line").sum() < 0.6 * mask("spot").sum()


def test_shapes_outlive_an_eighth_of_the_side() -> None:
    """Two shapes of one place, tone and size still differ when only 16 x 16 means are left of the mask."""

    def coarse(shape: str) -> np.ndarray:
        finding = Finding(shape, "bright", "large", "sharp", "middle", "left")
        mask = varied.draw("prostate", (finding,), np.random.default_rng(4), patient=1).mask
        return mask.reshape(16, 8, 16, 8).mean((1, 3))

    for number, first in enumerate(varied.SHAPES):
        for second in varied.SHAPES[:number]:
            difference = np.abs(coarse(first) - coarse(second)).sum()
            assert difference > 0.3 * min(coarse(first).sum(), coarse(second).sum()), (first, second)


@pytest.mark.thorough
def test_training_phantoms_hold_nothing_held_out_and_every_shape() -> None:
    drawn = varied.draw_many(300, seed=2, side=32)
    findings = [(one.modality, finding) for one in drawn for finding in one.findings]
    assert not any(is_held_out(modality, finding) for modality, finding in findings)
    assert {finding.shape for _, finding in findings} == set(varied.SHAPES)
    assert {len(one.findings) for one in drawn} == {0, 1, 2}


@pytest.mark.parametrize("name", sorted(HELD_OUT))
def test_near_misses_are_never_the_target(name: str) -> None:
    rng, held = np.random.default_rng(0), HELD_OUT[name]
    for _ in range(300):
        missed = varied.near_misses(name, rng)
        assert len(missed) == 2 or not held.covers(held.modality, missed[0])
    assert held.covers(held.modality, target_finding(name, rng))


def test_deformation_is_smooth_and_never_folds() -> None:
    for seed in range(50):
        plane = Plane(64, Pose(), np.random.default_rng(seed))
        assert (np.diff(plane.x, axis=1) > 0).all()
        assert (np.diff(plane.y, axis=0) > 0).all()


def test_blur_keeps_the_mean_and_lowers_the_deviation() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 32, 32)).astype(np.float32)
    smooth = blurred(noise, 2.0)
    assert np.allclose(smooth.mean((1, 2)), noise.mean((1, 2)), atol=1e-5)
    assert smooth.std() < 0.3 * noise.std()


def test_an_unknown_modality_is_an_error() -> None:
    with pytest.raises(KeyError):
        varied.draw("ultrasound", (), np.random.default_rng(0))
