"""LIVECell: what names of pictures say."""

import annotated
import numpy as np
import pytest

from dpipe.readers import READERS


def test_names_of_real_pictures(shared_data):
    (part,) = READERS["livecell"].parts(
        [str(shared_data / "livecell/annotations"), str(shared_data / "livecell/images")]
    )
    ds = READERS["livecell"].open([item.uri for item in part.items])
    first = ds.isel(record=0)
    assert str(first["file"].values) == "MCF7_Phase_G4_2_02d16h00m_1.tif"
    told = {name: first[name].item() for name in ("cell_type", "imaging", "well")}
    assert told == {"cell_type": "MCF7", "imaging": "Phase", "well": "G4"}
    assert (first["location"].item(), first["crop"].item()) == (2, 1)
    assert first["picture_time"].item() == (2 * 24 + 16) * 3600
    assert set(ds["cell_type"].values.tolist()) == {"MCF7", "Huh7", "BT474"}
    assert "notes" not in ds.attrs


@pytest.mark.parametrize(
    ("name", "crop", "seconds"),
    [
        ("SKOV3_Phase_AA12_10_00d04h30m_3.png", 3, 16_200),
        ("a/A549_Fluo_B2_1_01d00h01m.tif", -1, 86_460),
    ],
)
def test_other_forms(tmp_path, name, crop, seconds):
    images = annotated.content()["images"]
    images[0]["file_name"] = name
    annotated.write(tmp_path, pictures=False, images=images)
    ds = READERS["livecell"].open(str(tmp_path / "m.json"))
    assert ds["crop"].values.tolist() == [crop, -1]
    np.testing.assert_array_equal(ds["picture_time"].values, [seconds, np.nan])
    assert ds.attrs["notes"] == ["1 names are not as LIVECell's: the first: cells_7.tif"]
