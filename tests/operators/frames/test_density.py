"""Cell density: Octave's masks and numbers, scikit-image's chain, planted cells, hand counts."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import scipy.spatial.distance
import skimage.exposure
import skimage.measure
import skimage.morphology as morphology
import skimage.segmentation
import tifffile
import xarray as xr

from dpipe import schema
from dpipe.demo import study
from dpipe.errors import SchemaError, UsageError
from dpipe.operators import cell_density
from dpipe.operators.frames import blobs, flood
from dpipe.operators.frames.density import crowding
from dpipe.operators.frames.find_cells import segment
from dpipe.operators.frames.projection_kernel import normalised_projection
from dpipe.operators.frames.wiener import wiener

SWITCHES = {"as published": (True, True), "as in Octave": (False, False)}
DISK = {radius: morphology.disk(radius) for radius in (1, 2)}


def density_of(plane, spacing=(1.0, 1.0, 1.0), **params):
    """Measure one plane as a movie of one frame; return count, distance, share."""
    movie = schema.movie(np.asarray(plane)[None, None, None], spacing=spacing)
    found = cell_density(movie, **params)
    return tuple(found[f"cell_{name}"].values.item() for name in ("count", "distance", "clustered"))


def cells(*centres, radius=6, shape=(96, 96), flat=False):
    """Draw discs on a background of 20, 200 in their centre and 100 at their border, or flat."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    image = np.full(shape, 20.0)
    for cy, cx in centres:
        away = ((y - cy) ** 2 + (x - cx) ** 2) / radius**2
        np.maximum(image, np.where(away <= 1, 200 - 100 * away * (not flat), 0), out=image)
    return image.astype("u1")


def straightforward(plane, equalise, round_threshold):
    """Do the steps with scikit-image, one call each; markers rise in rows, so ties are settled."""
    if equalise:
        stretched = skimage.exposure.equalize_adapthist(plane, clip_limit=0.01, nbins=256)
        plane = np.floor(255 * stretched + 0.5).astype("u1")
    limit = 1.2 * exact_otsu(plane)
    limit = math.floor(limit + 0.5) if round_threshold else limit
    opened = morphology.opening(plane > limit, DISK[2])
    opened = morphology.remove_small_objects(opened, max_size=9, connectivity=2)
    cut = morphology.reconstruction(np.maximum(plane, 5) - 5, plane)
    peaks = morphology.closing(cut > morphology.reconstruction(cut - 1, cut), DISK[1])
    places = ~opened | peaks
    level = 255 - plane.astype(int)
    level[places] = np.arange(places.sum()) - places.sum()
    markers = skimage.measure.label(places, connectivity=2)
    basins = skimage.segmentation.watershed(level, markers, connectivity=2, watershed_line=True)
    by_columns = basins.T.ravel()
    first = by_columns[by_columns > 0][0]
    return opened, (basins > 0) & (basins != first)


def exact_otsu(plane):
    """Try all 255 ways to part 256 bins, in fractions; the mean of the best, on the grey scale."""
    least, most = int(plane.min()), int(plane.max())
    bins = np.floor(255 * (plane.astype(int) - least) / (most - least) + 0.5)
    n = np.bincount(bins.astype(int).ravel(), minlength=256).tolist()
    total, moment = sum(n), sum(k * count for k, count in enumerate(n))
    between, below, sums = [], 0, 0
    for k in range(255):
        below, sums = below + n[k], sums + k * n[k]
        gap = moment * below - total * sums
        between.append(Fraction(gap * gap, below * (total - below)) if total > below else 0)
    best = [k for k, value in enumerate(between) if value == max(between)]
    return math.floor(least + sum(best) / len(best) / 255 * (most - least) + 0.5)


def counted(mask, least, most):
    areas = [region.area for region in skimage.measure.regionprops(skimage.measure.label(mask))]
    return sum(least <= area <= most for area in areas)


@pytest.fixture(scope="module")
def octave(shared_data: Path):
    folder = shared_data / "reference" / "octave_leuko_qc"
    rows = [line.split(",") for line in (folder / "scalars.csv").read_text().splitlines()[1:]]
    return {name: float(value) for frame, name, value in rows if frame == "t00"}


@pytest.fixture(scope="module")
def arrays(shared_data: Path):
    return dict(np.load(shared_data / "reference" / "octave_leuko_qc" / "cho_t00.npz"))


class TestOctave:
    """Frame 0 of Fluo-N3DH-CHO, movie 02: Octave 7.3 with image 2.14, which has no equaliser."""

    def test_masks(self, octave, arrays):
        plane = arrays["wiener3"]
        assert blobs.threshold(plane) == octave["otsu_wiener3"] == 58
        assert (plane > 1.2 * 58).sum() == octave["mask_pixels"]
        opened, flooded = segment(plane, equalise=False, round_threshold=False)
        np.testing.assert_array_equal(opened, arrays["bw"])
        peaks = flood.extended_maxima(plane, 5)
        np.testing.assert_array_equal(peaks, arrays["extmax"])
        closed = blobs.eroded(blobs.dilated(peaks, 1), 1)
        assert closed.sum() == octave["imclose_pixels"]
        # Everybody's lines differ by some pixels: as many basins, but 495 cells against 493.
        _, regions = scipy.ndimage.label(~opened | closed, np.ones((3, 3)))
        assert regions == octave["watershed_max_label"]
        basins = arrays["watershed"]
        theirs = (basins > 0) & (basins != basins[0, 0])
        assert (flooded != theirs).mean() < 0.005
        assert counted(theirs, 10, 300) == 495
        assert counted(flooded, 10, 300) == 493

    def test_blobs(self, octave, arrays):
        areas, centroids = blobs.blobs(arrays["bw"] > 0)
        assert len(areas) == octave["bwlabel8_n"] == octave["blobs_all"]
        assert sorted(areas) == sorted(np.bincount(arrays["bwlabel8"].ravel())[1:])
        assert ((areas >= 30) & (areas <= 200)).sum() == octave["blobs_30_200"]
        distances, others = crowding(centroids, 20)
        expected = octave["mean_shortest_distance_px"]
        assert distances.mean() == pytest.approx(expected, rel=1e-12)
        assert (others >= 4).mean() == octave["cluster_fraction_ge4_within20px"]

    def test_whole(self, octave, arrays, shared_data):
        path = shared_data / "timelapse" / "fluo_n3dh_cho" / "Fluo-N3DH-CHO_02_img.tif"
        volume = tifffile.imread(path)[0]
        movie = schema.movie(volume[None, None])
        found = cell_density(movie, equalise=False, round_threshold=False)
        # 4 opened, 493 of the watershed: further apart than 50.
        assert found["cell_count"].values.item() == octave["blobs_30_200"] == 4
        assert found["cell_distance"].values.item() == pytest.approx(6.5, abs=1)


def real_planes(shared_data):
    cho = tifffile.imread(shared_data / "timelapse" / "fluo_n3dh_cho" / "Fluo-N3DH-CHO_02_img.tif")
    yield from (normalised_projection(cho[t])[0] for t in (0, 10, 19))
    nuclei = shared_data / "nuclei"
    plane = tifffile.imread(nuclei / "bbbc007" / "AS_09125_040701150004_A02f00d0.tif")
    yield normalised_projection(plane[None])[0]
    yield normalised_projection(tifffile.imread(nuclei / "stardist3d" / "img3d.tif"))[0]


def synthetic_planes():
    rng = np.random.default_rng(3)
    for shape, smooth, count in (((120, 150), 2, 60), ((64, 64), 1, 20), ((201, 77), 3, 40)):
        image = np.zeros(shape)
        image[tuple(rng.integers(0, n, count) for n in shape)] = rng.uniform(0.5, 1, count)
        image = scipy.ndimage.gaussian_filter(image, smooth)
        yield rng.poisson(10 + 120 * image / image.max()).clip(0, 255).astype("u1")
    yield rng.integers(0, 256, (50, 61)).astype("u1")
    yield np.add.outer(np.arange(40), np.arange(30)).astype("u1")
    yield cells((20, 20), (20, 27), (60, 60), shape=(80, 90))
    yield cells((20, 20), (20, 27), (60, 60), shape=(80, 90), flat=True)


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")  # scikit-image
class TestKernels:
    """Fast kernels against the straightforward chain: the same masks, so the same counts."""

    @staticmethod
    def same(plane, switches):
        filtered = wiener(plane, 3)
        found = segment(filtered, equalise=switches[0], round_threshold=switches[1])
        expected = straightforward(filtered, *switches)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
            areas, centroids = blobs.blobs(mine)
            regions = skimage.measure.regionprops(skimage.measure.label(theirs.T, connectivity=2))
            assert areas.tolist() == [region.area for region in regions]
            places = np.array([region.centroid[::-1] for region in regions]).reshape(-1, 2)
            np.testing.assert_allclose(centroids, places, rtol=1e-12)

    @pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
    def test_real(self, shared_data, switches):
        for plane in real_planes(shared_data):
            self.same(plane, switches)

    @pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
    @pytest.mark.parametrize("plane", list(synthetic_planes()), ids=lambda plane: str(plane.shape))
    def test_synthetic(self, plane, switches):
        self.same(plane, switches)

    @pytest.mark.parametrize("seed", range(5))
    def test_extended_maxima(self, seed):
        plane = np.random.default_rng(seed).integers(0, 12, (30, 41)).astype("u1")
        cut = morphology.reconstruction(np.maximum(plane, 5) - 5, plane)
        expected = cut > morphology.reconstruction(cut - 1, cut)
        np.testing.assert_array_equal(flood.extended_maxima(plane, 5), expected)

    @pytest.mark.parametrize(
        ("markers", "basins"),
        [
            # one pixel from each side, the first marker's first; the last one touches both: line
            ([[1, 0, 0, 2]], [[1, 1, 0, 2]]),
            ([[2, 0, 0, 1]], [[2, 2, 0, 1]]),  # first by place, not by number
            ([[1], [0], [0], [2]], [[1], [1], [0], [2]]),
            # turns are taken: 1, 2, then 1 has the next and 2 finds it there
            ([[1, 0, 0, 0, 0, 2]], [[1, 1, 1, 0, 2, 2]]),
            ([[1, 0, 0, 0, 2]], [[1, 1, 0, 2, 2]]),
            # row by row: the right one begins, though the left one is in an earlier column
            ([[0, 0, 0, 2], [1, 0, 0, 0]], [[1, 0, 2, 2], [1, 0, 2, 2]]),
        ],
    )
    def test_ties_of_the_watershed(self, markers, basins):
        """Pixels of one level, worked out by hand: a queue, markers row by row."""
        flat = np.full(np.shape(markers), 7, "u1")
        found = flood.watershed(flat, np.array(markers, "i4"))
        assert found.tolist() == basins

    def test_a_pixel_of_the_deepest_and_of_the_highest_level_is_flooded(self):
        # bright is deep: 255 is level 0, and 0 is level 255, the last
        plane = np.array([[255, 255, 0, 0]], "u1")
        markers = np.array([[1, 0, 0, 0]], "i4")
        assert flood.watershed(plane, markers).tolist() == [[1, 1, 1, 1]]

    def test_the_first_basin_by_columns_is_background(self):
        plane = [[0, 0, 0, 0], [60, 120, 120, 120], [60, 200, 0, 120], [120, 120, 60, 60]]
        opened = [[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1], [1, 1, 1, 0]]
        # basins: 0 0 1 1 / 2 0 0 1 / 2 2 0 0 / 2 2 0 3. The first by rows is 1, by columns 2.
        found = blobs.watershed_mask(np.array(plane, "u1"), np.array(opened, bool))
        expected = [[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1]]
        assert found.astype(int).tolist() == expected

    def test_ten_pixels_are_no_dust(self):
        # two disks of radius 2 side by side, cut by the border of a plane of two rows: 6 + 4
        plane = np.zeros((2, 8), "u1")
        plane[0, 1:7] = plane[1, 2:6] = 200
        assert blobs.opened_mask(plane, 100).tolist() == (plane > 0).tolist()
        plane[0, 6] = plane[1, 5] = 0  # one disk: 5 + 3
        assert not blobs.opened_mask(plane, 100).any()

    def test_a_pixel_of_the_threshold_itself_is_background(self):
        assert not blobs.opened_mask(np.full((9, 9), 100, "u1"), 100).any()
        assert blobs.opened_mask(np.full((9, 9), 100, "u1"), 99.5).all()

    def test_threshold_takes_the_middle_of_an_empty_range(self):
        # Two grey values, 10 and 110: bins 0 and 255, all of 0..254 part them equally: 127 of
        # 255, that is 10 + 127 / 255 * 100 = 59.8.
        plane = np.array([[10, 110], [110, 10]], "u1")
        assert blobs.threshold(plane) == 60

    @pytest.mark.parametrize(
        "points",
        [
            pytest.param(np.random.default_rng(1).uniform(0, 60, (40, 2)), id="scattered"),
            pytest.param(np.random.default_rng(2).integers(0, 5, (40, 2)) * 10.0, id="coincident"),
        ],
    )
    def test_crowding(self, points):
        apart = scipy.spatial.distance.cdist(points, points)
        apart[apart == 0] = np.inf
        distances, others = crowding(points, 20.0)
        np.testing.assert_allclose(distances, apart.min(axis=1), rtol=1e-12)
        np.testing.assert_array_equal(others, (apart <= 20).sum(axis=1))


class TestTruth:
    """Cells that were put there."""

    @pytest.mark.parametrize("number", [1, 2], ids=["uint8", "uint16"])
    def test_demo(self, number):
        # Radii of 4 to 7 um at half a micrometre a pixel: larger than the published limits.
        said = study.describe_movie(number, frames=5)
        channels = range(len(study.CHANNELS))
        pixels = np.stack([[study.draw_frame(said, t, c) for c in channels] for t in range(5)])
        movie = schema.movie(pixels, spacing=said["spacing"], channels=study.CHANNELS)
        areas = {"opened_area": (40, 1500), "watershed_area": (25, 1500)}
        opened = cell_density(movie, opened_only=study.CHANNELS, **areas).compute()
        mean = cell_density(movie, **areas)["cell_count"].values
        apart = 0
        for t, c in np.ndindex(5, len(channels)):
            planted, overlap = truth(said, t, c)
            count = opened["cell_count"].values[t, c]
            # The only pair that overlaps is one blob in some frames.
            assert count == len(planted) or (overlap and count == len(planted) - 1)
            # Noise splits up to two cells of the last channel; each counts half.
            assert abs(mean[t, c] - len(planted)) <= (1.0 if c == 2 else 0.5)
            if not overlap and mean[t, c] == count:
                distance = opened["cell_distance"].values[t, c]
                assert distance == pytest.approx(nearest(planted), abs=0.5)
                apart += 1
        assert apart >= 10

    def test_demo_as_published(self):
        said = study.describe_movie(1, frames=5)
        pixels = np.stack([[study.draw_frame(said, t, 0)] for t in range(5)])
        movie = schema.movie(pixels, spacing=said["spacing"])
        assert cell_density(movie, equalise=False)["cell_count"].values.tolist() == [[6]] * 5

    def test_distance_and_share(self):
        # A row of four, 10 um apart (20 px of 0.5 um), and one 30 um further: nearest 10, 10,
        # 10, 10, 30: mean 14. Within 20 um: 2, 3, 3, 2 others, 0 for the last.
        plane = cells(*((48, x) for x in (20, 40, 60, 80, 140)), shape=(96, 160))
        for neighbours, share in ((1, 0.8), (2, 0.8), (3, 0.4), (4, 0.0)):
            count, distance, clustered = density_of(
                plane, spacing=(2, 0.5, 0.5), neighbours=neighbours, equalise=False
            )
            assert (count, clustered) == (5, share)
            assert distance == pytest.approx(14, rel=1e-12)
        # Pixels of 1 um along y and 0.25 along x: 5 um apart, the last 15 um.
        found = density_of(plane, spacing=(1, 1, 0.25), equalise=False, radius=5)
        assert found == (5, pytest.approx(7, rel=1e-12), 0)

    def test_lone_cell(self):
        count, distance, share = density_of(cells((40, 40)), equalise=False)
        assert (count, share) == (1, 0)
        assert math.isnan(distance)
        # Without a maximum of its own it is no basin: mean of 1 and 0.
        assert density_of(cells((40, 40), flat=True), equalise=False)[0] == 0.5

    def test_rings_around_one_centre_are_no_neighbours(self):
        plane = cells((48, 48), radius=20, flat=True)
        plane = plane - cells((48, 48), radius=15, flat=True) + cells((48, 48), flat=True)
        wide = {"opened_area": (10, 9999), "watershed_area": (9999, 9999)}
        count, distance, share = density_of(plane, equalise=False, largest_gap=0, **wide)
        assert (count, share) == (2, 0)
        assert math.isnan(distance)

    @pytest.mark.parametrize("value", [0, 7, 255])
    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (30, 40)], ids=str)
    def test_nothing(self, value, shape):
        count, distance, share = density_of(np.full(shape, value, "u1"))
        assert count == 0
        assert math.isnan(distance)
        assert math.isnan(share)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2), (3, 90), (5, 5), (9, 17)], ids=str)
    def test_small_pictures(self, shape):
        plane = np.random.default_rng(0).integers(0, 256, shape).astype("u1")
        assert density_of(plane)[0] >= 0


# Two pairs of touching cells, with a saddle between them, and one by itself: three blobs of the
# mask, five basins.
PAIRS = cells((20, 20), (20, 30), (60, 20), (60, 30), (40, 70))
WIDE = {"opened_area": (10, 400), "equalise": False}


class TestRules:
    """Two counts, one result."""

    def test_mean_of_both(self):
        opened, flooded = (blobs.blobs(m)[0] for m in self.masks())
        assert (len(opened), len(flooded)) == (3, 5)
        assert density_of(PAIRS, **WIDE)[0] == 4

    def masks(self):
        return segment(wiener(PAIRS, 3), equalise=False, round_threshold=True)

    def test_first_if_too_far_apart(self):
        assert density_of(PAIRS, largest_gap=2, **WIDE)[0] == 4  # 5 - 3, just that far
        count, distance, _ = density_of(PAIRS, largest_gap=1, **WIDE)
        assert count == 3
        # But the centroids are those of the larger set: pairs 10 apart, the fifth alone.
        assert distance < 20

    def test_first_for_some_channels(self):
        pixels = np.repeat(PAIRS[None, None, None], 2, axis=1)
        movie = schema.movie(pixels, channels=["GFP", "SHG"])
        found = cell_density(movie, opened_only=["SHG"], **WIDE)
        assert found["cell_count"].values.tolist() == [[4, 3]]
        assert found["cell_count"].dims == ("t", "c")
        assert found["cell_distance"].values[0, 0] == found["cell_distance"].values[0, 1]

    def test_areas(self):
        assert density_of(PAIRS, opened_area=(1, 2), watershed_area=(1, 2))[0] == 0

    def test_areas_include_their_ends(self):
        plane = cells((40, 40))
        masks = segment(wiener(plane, 3), equalise=False, round_threshold=True)
        (first,), (second,) = (blobs.blobs(mask)[0].tolist() for mask in masks)

        def counted(opened, flooded):
            areas = {"opened_area": opened, "watershed_area": flooded}
            return density_of(plane, equalise=False, **areas)[0]

        just = (first, first), (second, second)
        assert counted(*just) == 1
        for odd in ((first + 1, first + 9), (0, first - 1)):
            assert counted(odd, just[1]) == 0.5
        for odd in ((second + 1, second + 9), (0, second - 1)):
            assert counted(just[0], odd) == 0.5

    def test_most(self):
        assert density_of(PAIRS, most=2, **WIDE)[0] == 2

    def test_is_lazy_and_keeps_coordinates(self):
        movie = schema.movie(np.zeros((2, 1, 2, 8, 8), "u1"), spacing=(3, 0.5, 0.25), interval=30)
        found = cell_density(movie)
        assert all(variable.chunks for variable in found.data_vars.values())
        assert found["t"].values.tolist() == [0, 30]
        assert found.attrs["spacing"] == [3, 0.5, 0.25]
        assert found["cell_distance"].attrs["units"] == "micrometer"

    @pytest.mark.parametrize(
        ("params", "words"),
        [
            ({"opened_area": (200, 30)}, "opened_area: found"),
            ({"watershed_area": 5}, "watershed_area: found 5"),
            ({"watershed_area": (1, 2, 3)}, "two numbers"),
            ({"opened_area": (1, math.nan)}, "rising"),
            ({"neighbours": 0}, "neighbours: found 0"),
            ({"neighbours": 2.5}, "whole number"),
            ({"most": True}, "most: found True"),
            ({"radius": -1}, "radius: found -1"),
            ({"radius": math.nan}, "radius: found nan"),
            ({"largest_gap": "50"}, "largest_gap: found '50'"),
            ({"opened_only": "0"}, "opened_only: found '0'"),
            ({"opened_only": ["SHG"]}, "list of 0"),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_bad_parameters(self, params, words):
        with pytest.raises(UsageError, match=words):
            cell_density(schema.movie(np.zeros((1, 1, 1, 8, 8), "u1")), **params)

    def test_no_movie(self):
        with pytest.raises(SchemaError, match="image"):
            cell_density(xr.Dataset())


def truth(said, t, c):
    """Return the places (n, 2) of the cells of a frame, and whether any overlap in projection."""
    here = [cell for cell in said["cells"] if cell["channel"] == c]
    places = np.array([cell["centres"][t][1:] for cell in here])
    reach = np.array([max(cell["radii"][1:]) for cell in here])
    apart = scipy.spatial.distance.cdist(places, places) + 1e9 * np.eye(len(here))
    return places, bool((apart < reach[:, None] + reach).any())


def nearest(places):
    apart = scipy.spatial.distance.cdist(places, places) + 1e9 * np.eye(len(places))
    return apart.min(axis=1).mean()
