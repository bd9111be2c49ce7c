"""Augmented pictures: what each depends on, and what the changes look like."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.networks import AugmentParams
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.augmentation import Augmenter, Words, grey_fill, mixed, words_of
from unlearn.stages.estimators.mixup import mix_rows
from unlearn.stages.estimators.packing import Packing, packing_of

from tests.properties import tried_on

PHOTO = packing_of({"photo": ("image", (3, 8, 8))}, columns=0)
SEVERAL = packing_of(
    {"left": ("image", (3, 8, 8)), "wave": ("tensor", (4,)), "right": ("image", (1, 6, 10))},
    columns=2,
)
ALL = AugmentParams(crop=2, flip=True, colour=0.3, cutout=3)


def augmenter(packing: Packing, settings: AugmentParams, **options: object) -> Augmenter:
    fill = tuple(grey_fill([0.5], part.shape[0]) for part in packing.images)
    return Augmenter(packing.images, settings, fill, **options)  # type: ignore[arg-type]  # one


def random_rows(packing: Packing, rows: int, seed: int = 0) -> torch.Tensor:
    draw = np.random.default_rng(seed)
    return torch.from_numpy(draw.integers(0, 256, (rows, packing.width), dtype=np.uint8))


def random_draws(rows: int, seed: int = 0) -> Words:
    return np.random.default_rng(seed + 1).integers(0, 2**64, rows, dtype=np.uint64)


def noisy(picture: npt.NDArray[np.uint8], random: np.random.Generator) -> npt.NDArray[np.uint8]:
    return picture ^ random.integers(0, 2, picture.shape, dtype=np.uint8)


@tried_on(few=10, many=100)
@given(
    rows=st.integers(1, 12),
    number=st.integers(1, 3),
    epoch=st.integers(0, 4),
    several=st.booleans(),
    own=st.booleans(),
    data=st.data(),
)
def test_a_picture_is_the_same_whichever_rows_are_in_its_batch(
    *, rows: int, number: int, epoch: int, several: bool, own: bool, data: st.DataObject
) -> None:
    packing = SEVERAL if several else PHOTO
    settings = ALL.model_copy(update={"own": "my.py:noisy" if own else None})
    augment = augmenter(packing, settings, own=noisy if own else None)
    batch, draws = random_rows(packing, rows), random_draws(rows)
    whole = augment(batch, draws, number, epoch)

    some = data.draw(st.lists(st.sampled_from(range(rows)), min_size=1, unique=True))
    assert torch.equal(augment(batch[some], draws[some], number, epoch), whole[some])


@pytest.mark.parametrize("settings", [ALL, AugmentParams(crop=2), AugmentParams(colour=0.3)])
def test_rows_epochs_and_slices_differ(settings: AugmentParams) -> None:
    augment = augmenter(PHOTO, settings)
    same = random_rows(PHOTO, 1).expand(64, -1)
    draws = random_draws(64)
    first = augment(same, draws, 1, 0)
    # By rows: crop alone has 25 outcomes.
    assert len({row.numpy().tobytes() for row in first}) > 15
    for number, epoch in ((1, 1), (2, 0), (2, 1)):
        assert (augment(same, draws, number, epoch) != first).any(1).sum() > 40
    # By keys: other draws of the same rows.
    assert (augment(same, random_draws(64, seed=7), 1, 0) != first).any(1).sum() > 40
    # By features.
    two = packing_of({"a": ("image", (3, 8, 8)), "b": ("image", (3, 8, 8))}, columns=0)
    pair = augmenter(two, settings)(same.repeat(1, 2), draws, 1, 0)
    left, right = pair[:, : PHOTO.width], pair[:, PHOTO.width :]
    assert (left != right).any(1).sum() > 40


def test_one_bit_of_a_draw_changes_half_of_the_bits() -> None:
    draws = random_draws(2000)
    words = words_of(draws, 1, 0, "photo", "crop")
    for bit in (0, 31, 63):
        others = words_of(draws ^ np.uint64(1 << bit), 1, 0, "photo", "crop")
        changed = np.unpackbits((words ^ others).view(np.uint8)).mean()
        assert abs(changed - 0.5) < 0.01
    assert len(np.unique(mixed(draws))) == len(np.unique(draws))


def test_all_places_are_as_frequent() -> None:
    rows = 20_000
    augment = augmenter(packing_of({"dot": ("image", (1, 5, 5))}, 0), AugmentParams(crop=2))
    dot = torch.zeros(rows, 25, dtype=torch.uint8)
    dot[:, 12] = 255
    found = augment(dot, random_draws(rows), 1, 0)
    counts = (found == 255).sum(0).double()
    # 25 places; four standard deviations.
    assert counts.sum() == rows
    assert (counts - rows / 25).abs().max() < 4 * (rows / 25) ** 0.5


def test_half_of_the_pictures_are_mirrored() -> None:
    rows = 10_000
    augment = augmenter(PHOTO, AugmentParams(flip=True))
    one = random_rows(PHOTO, 1)
    found = augment(one.expand(rows, -1), random_draws(rows), 1, 0)
    mirrored = one.view(3, 8, 8).flip(2).reshape(1, -1)
    same, other = (found == one).all(1), (found == mirrored).all(1)
    assert (same | other).all()
    assert abs(int(other.sum()) - rows / 2) < 4 * (rows / 4) ** 0.5


def test_a_crop_moves_the_picture_and_fills_the_margin() -> None:
    augment = augmenter(PHOTO, AugmentParams(crop=3))
    one = torch.full((1, PHOTO.width), 7, dtype=torch.uint8)
    found = augment(one.expand(200, -1), random_draws(200), 1, 0).view(-1, 3, 8, 8)
    assert set(found.flatten().tolist()) == {7, 128}
    # What is filled are whole lines and columns at the border, the same in all channels.
    inside = found[:, 0] == 7
    assert torch.equal(found[:, 0], found[:, 2])
    boxes = inside.any(2)[:, :, None] & inside.any(1)[:, None, :]
    assert torch.equal(boxes, inside)
    assert int(inside.sum((1, 2)).min()) >= 25


def test_colours_stay_within_the_share_and_centre_on_the_picture() -> None:
    rows = 4000
    augment = augmenter(PHOTO, AugmentParams(colour=0.2))
    # A picture of one grey: contrast and saturation leave it, brightness is a factor.
    grey = torch.full((rows, PHOTO.width), 100, dtype=torch.uint8)
    found = augment(grey, random_draws(rows), 1, 0)
    assert (found == found[:, :1]).all()
    values = found[:, 0].double()
    assert int(values.min()) == 80
    assert int(values.max()) == 120
    assert abs(float(values.mean()) - 100) < 1

    coloured = random_rows(PHOTO, 1).expand(rows, -1)
    found = augment(coloured, random_draws(rows), 1, 0).double()
    inner = (coloured[0] > 60) & (coloured[0] < 190)  # far from the ends, where values are cut off
    assert (found.mean(0)[inner] - coloured[0][inner]).abs().max() < 3


def test_no_change_of_colour_gives_the_picture_itself() -> None:
    tiny = 1e-6  # rounds to no share
    batch = random_rows(PHOTO, 8)
    assert torch.equal(
        augmenter(PHOTO, AugmentParams(colour=tiny))(batch, random_draws(8), 1, 0), batch
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_opacity_keeps_its_colours(channels: int) -> None:
    packing = packing_of({"photo": ("image", (channels, 6, 6))}, columns=0)
    batch = random_rows(packing, 32)
    found = augmenter(packing, AugmentParams(colour=0.5))(batch, random_draws(32), 1, 0)
    assert not torch.equal(found, batch)
    if channels == 4:
        assert torch.equal(found.view(-1, 4, 36)[:, 3], batch.view(-1, 4, 36)[:, 3])


def test_a_square_is_cut_out() -> None:
    augment = augmenter(PHOTO, AugmentParams(cutout=4))
    one = torch.zeros(2000, PHOTO.width, dtype=torch.uint8)
    found = augment(one, random_draws(2000), 1, 0).view(-1, 3, 8, 8)
    sizes = (found[:, 0] == 128).sum((1, 2))
    assert int(sizes.max()) == 16
    assert int(sizes.min()) == 4  # in a corner
    # Each pixel is cut out sometimes.
    assert (found[:, 0] == 128).any(0).all()


def test_other_features_stay_as_they_are() -> None:
    batch = random_rows(SEVERAL, 5)
    found = augmenter(SEVERAL, ALL)(batch, random_draws(5), 1, 0)
    for part in SEVERAL.parts:
        same = torch.equal(found[:, part.start : part.end], batch[:, part.start : part.end])
        assert same == (part.kind != "image")


def test_a_batch_is_not_changed_in_place() -> None:
    def black(picture: npt.NDArray[np.uint8], _random: np.random.Generator) -> object:
        picture[:] = 0
        return picture

    batch = random_rows(PHOTO, 4)
    before = batch.clone()
    settings = AugmentParams(own="my.py:black")
    found = augmenter(PHOTO, settings, own=black)(batch, random_draws(4), 1, 0)
    assert torch.equal(batch, before)
    assert int(found.max()) == 0


def test_an_own_function_may_return_a_tensor() -> None:
    def turned(picture: npt.NDArray[np.uint8], _random: np.random.Generator) -> object:
        return torch.from_numpy(picture).flip(1)

    batch = random_rows(PHOTO, 3)
    settings = AugmentParams(own="my.py:turned")
    found = augmenter(PHOTO, settings, own=turned)(batch, random_draws(3), 1, 0)
    assert torch.equal(found.view(-1, 3, 8, 8), batch.view(-1, 3, 8, 8).flip(2))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "my.py:own returns a NoneType in place of a picture: uint8 of shape (3, 8, 8)"),
        (np.zeros((8, 8, 3), np.uint8), "returns uint8 of shape (8, 8, 3)"),
        (np.zeros((3, 8, 8), np.float32), "returns float32 of shape (3, 8, 8)"),
        (ValueError("pixel 17"), "train.augment.own: my.py:own fails (ValueError)"),
    ],
)
def test_a_wrong_own_function_is_one_clear_error(result: object, message: str) -> None:
    def own(_picture: object, _random: object) -> object:
        if isinstance(result, Exception):
            raise result
        return result

    augment = augmenter(PHOTO, AugmentParams(own="my.py:own"), own=own)
    with pytest.raises(InputError) as caught:
        augment(random_rows(PHOTO, 2), random_draws(2), 1, 0)
    assert message in str(caught.value)
    assert "17" not in str(caught.value)


@tried_on(few=10, many=100)
@given(rows=st.integers(1, 9), seed=st.integers(0, 2**63 - 1), several=st.booleans())
def test_mixup_mixes_each_row_with_its_partner(*, rows: int, seed: int, several: bool) -> None:
    packing = SEVERAL if several else PHOTO
    batch = random_rows(packing, rows)
    for part in packing.parts:
        if part.kind != "image":
            count = (part.end - part.start) // 4
            numbers = torch.randn(rows, count, generator=torch.Generator().manual_seed(1))
            batch[:, part.start : part.end] = numbers.view(torch.uint8)
    mixed_rows = mix_rows(batch, packing, 0.4, seed)
    again = mix_rows(batch, packing, 0.4, seed)
    assert torch.equal(mixed_rows.batch, again.batch)
    assert sorted(mixed_rows.partners.tolist()) == list(range(rows))
    share, others = mixed_rows.share, batch[mixed_rows.partners]
    for part in packing.parts:
        one, other, found = (
            rows_of[:, part.start : part.end].contiguous()
            for rows_of in (batch, others, mixed_rows.batch)
        )
        if part.kind != "image":
            one, other, found = (piece.view(torch.float32) for piece in (one, other, found))
        wanted = share * one.double() + (1 - share) * other.double()
        assert (found.double() - wanted).abs().max() <= (0.51 if part.kind == "image" else 1e-5)


def test_mixup_draws_its_proportion_from_a_beta_distribution() -> None:
    batch = random_rows(PHOTO, 2)
    shares = np.array([mix_rows(batch, PHOTO, 0.4, seed).share for seed in range(4000)])
    assert abs(shares.mean() - 0.5) < 0.03
    assert abs(shares.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01


def test_mixup_mixes_the_losses_of_both_targets() -> None:
    mixed_rows = mix_rows(random_rows(PHOTO, 4), PHOTO, 0.4, 3)
    own, other = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])
    share = mixed_rows.share
    wanted = torch.tensor([share + 3 * (1 - share), 2 * share + 6 * (1 - share)])
    assert torch.allclose(mixed_rows.loss(own, other), wanted)
