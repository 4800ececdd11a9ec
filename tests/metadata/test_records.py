"""MIFA records against the official JSON Schema and examples; facts of images."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import xarray as xr
import yaml

from dpipe import schema
from dpipe.errors import SchemaError, UsageError
from dpipe.metadata import Study, image_facts
from dpipe.metadata.study import Author, Organisation, Publication, Version

COMPLETE = {
    "title": "Leukocytes that die",
    "description": "Movies of dying leukocytes, for models of cell death in vivo.",
    "keywords": "apoptosis",
    "license": "https://creativecommons.org/licenses/by/4.0/",
    "funding_statement": "none",
    "link_url": "https://example.org/movies",
    "authors": [
        "Doe, Jane",
        {"author_first_name": "A.", "author_last_name": "B", "role": "x", "organisation": "TU"},
    ],
    "grants": {"grant_id": 123, "funder": "SNF"},
    "publications": {
        "publication_title": "T", "publication_authors": "A", "publication_doi": "10.1/x",
        "publication_year": 2024,
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def mifa(shared_data: Path) -> Path:
    """Folder of the official schema and examples."""
    return shared_data.parent / "oracles" / "mifa"


def problems(mifa: Path, name: str, record: dict[str, Any]) -> list[str]:
    """Validate by the official schema, formats too."""
    official = json.loads((mifa / "bia_mifa_models.schema.json").read_text())
    wanted = {"$ref": f"#/$defs/{name}", "$defs": official["$defs"]}
    checker = jsonschema.Draft7Validator.FORMAT_CHECKER
    jsonschema.Draft7Validator.check_schema(wanted)
    found = jsonschema.Draft7Validator(wanted, format_checker=checker).iter_errors(record)
    return [error.message for error in found]


def test_a_complete_study_is_valid(mifa: Path) -> None:
    study = Study.from_dict(COMPLETE)
    assert study.findings() == []
    assert problems(mifa, "Study", study.to_mifa()) == []


def test_the_official_shape() -> None:
    assert Study.from_dict(COMPLETE).to_mifa() == {
        "title": "Leukocytes that die",
        "description": "Movies of dying leukocytes, for models of cell death in vivo.",
        "keywords": ["apoptosis"],
        "license": "CC_BY",
        "funding_statement": "none",
        "link_url": ["https://example.org/movies"],
        "authors": [
            {"author_first_name": "Jane", "author_last_name": "Doe"},
            {
                "author_first_name": "A.",
                "author_last_name": "B",
                "role": ["x"],
                "organisation": [{"organisation_name": "TU"}],
            },
        ],
        "grants": [{"grant_id": "123", "funder": "SNF"}],
        "publications": {
            "10.1/x": {
                "publication_title": "T",
                "publication_authors": "A",
                "publication_doi": "10.1/x",
                "publication_year": "2024",
            }
        },
    }


@pytest.mark.parametrize("name", ["S-BIAD599", "S-BIAD634"])
def test_the_archives_own_examples_become_valid(mifa: Path, name: str) -> None:
    said = yaml.safe_load((mifa / f"Study_{name}.yaml").read_text())
    assert problems(mifa, "Study", said)  # as they stand, the official schema refuses them
    study = Study.from_dict(said)
    assert problems(mifa, "Study", study.to_mifa()) == []
    assert study.authors[0].author_last_name == said["authors"][0]["author_last_name"].strip()
    version = Version.from_dict(yaml.safe_load((mifa / f"Version_{name}.yaml").read_text()))
    assert problems(mifa, "Version", version.to_mifa()) == []
    assert version.findings() == []


def test_round_trips() -> None:
    study = Study.from_dict(COMPLETE)
    assert Study.from_dict(json.loads(json.dumps(asdict(study)))) == study
    again = Study.from_dict(study.to_mifa())
    assert again.to_mifa() == study.to_mifa()
    version = Version("v2", "2026-11-20T09:15:00+00:00", "more movies")
    assert Version.from_dict(version.to_mifa()) == version


@pytest.mark.parametrize("missing", ["title", "description", "license", "funding_statement"])
def test_findings_agree_with_the_schema(mifa: Path, missing: str) -> None:
    study = Study.from_dict({k: v for k, v in COMPLETE.items() if k != missing})
    assert study.findings() == [f"no {missing}; MIFA requires it"]
    assert problems(mifa, "Study", study.to_mifa()) == [f"'{missing}' is a required property"]


def test_an_empty_study() -> None:
    assert Study.from_dict({}).findings() == [
        f"no {name}; MIFA requires it"
        for name in (
            "title", "description", "keywords", "license", "funding_statement", "link_url"
        )
    ]  # fmt: skip
    assert Study.from_dict({}).to_mifa() == {"keywords": [], "link_url": []}


@pytest.mark.parametrize(
    ("text", "kept", "written"),
    [
        ("CC0", "CC0", "CC0"),
        ("CC0-1.0", "CC0-1.0", "CC0"),
        ("cc by 4.0", "CC-BY-4.0", "CC_BY"),
        ("CC_BY", "CC-BY", "CC_BY"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0", "CC0"),
        ("http://creativecommons.org/licenses/by/4.0/legalcode", "CC-BY-4.0", "CC_BY"),
        ("https://creativecommons.org/licenses/by-nc/4.0/", "CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("MIT", "MIT", "MIT"),
    ],
)
def test_licences_are_spelt_but_never_changed(text: str, kept: str, written: str) -> None:
    study = Study.from_dict(COMPLETE | {"license": text})
    assert (study.license, study.to_mifa()["license"]) == (kept, written)
    expected = [] if written in ("CC0", "CC_BY") else [f"license {kept!r} is not one of MIFA's"]
    assert [line.partition(",")[0] for line in study.findings()] == expected


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("EMBL-EBI", "author 'EMBL-EBI': no first name; a person is written 'Last, First'"),
        ({"author_first_name": "A"}, "author 'A': no last name"),
        (
            {"author_last_name": "A", "author_first_name": "B", "email": "a at b"},
            "author 'A, B': email 'a at b' is none",
        ),
        (
            {"author_last_name": "A", "author_first_name": "B", "orcid_id": "12"},
            "author 'A, B': orcid_id '12' is none; expected 0000-0000-0000-0000",
        ),
        (
            {"author_last_name": "A", "author_first_name": "B", "organisation": {"address": "x"}},
            "author 'A': an organisation has no organisation_name",
        ),
    ],
)
def test_findings_about_authors(said: Any, line: str) -> None:
    assert Study.from_dict(COMPLETE | {"authors": [said]}).findings() == [line]


@pytest.mark.parametrize("orcid", ["0000-0002-1439-530X", "https://orcid.org/0000-0002-1439-5301"])
def test_orcids(orcid: str) -> None:
    assert Author("A", "B", "a@b.ch", orcid).findings() == []


def test_findings_about_papers_and_grants() -> None:
    study = Study.from_dict(
        COMPLETE | {"publications": [{"publication_title": "T"}], "grants": {"funder": "SNF"}}
    )
    assert study.findings() == [
        "publication 1: no publication_authors; MIFA requires it",
        "publication 1: no publication_doi; MIFA requires it",
        "grant 1: no grant_id or no funder; MIFA requires both",
    ]
    assert study.to_mifa()["publications"] == {"T": {"publication_title": "T"}}


def test_no_publication_is_lost_where_they_are_keyed() -> None:
    """Two of one DOI, two without, and one that says nothing: all are there, and come back."""
    papers = [
        {"publication_title": "A", "publication_doi": "10.1/x"},
        {"publication_title": "B", "publication_doi": "10.1/x"},
        {"publication_title": "C"},
        {"publication_title": "C", "publication_year": "2020"},
        {"pubmed_id": "7"},
    ]
    study = Study.from_dict({"publications": papers})
    keyed = study.to_mifa()["publications"]
    assert list(keyed) == ["10.1/x", "10.1/x (2)", "C", "C (2)", "publication 5"]
    assert list(keyed.values()) == papers
    assert Study.from_dict({"publications": keyed}) == study


def test_publications_keyed_by_doi() -> None:
    study = Study.from_dict({"publications": {"10.1/x": {"publication_title": "T"}}})
    assert study.publications == (Publication("T", "", "10.1/x"),)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"titel": "x"}, "unknown study key 'titel'; did you mean 'title'?"),
        ({"title": ["x"]}, "study title: found a list; expected a text"),
        ({"title": {"a": 1}}, "study title: found a mapping; expected a text"),
        ({"title": True}, "study title: found True; expected a text"),
        ({"keywords": [["x"]]}, "study keywords: found a list; expected a text"),
        ({"authors": [3]}, "author: found 3; expected a mapping"),
        ({"authors": [{"name": "x"}]}, "unknown author key 'name'"),
        ({"grants": [None]}, "grant: found nothing; expected a mapping"),
        ({1: "x"}, "unknown study key '1'"),
        ([], "study: found a list; expected a mapping"),
    ],
)
def test_what_is_refused(said: Any, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Study.from_dict(said)
    assert str(caught.value).startswith(text)


def test_nothing_is_nothing() -> None:
    study = Study.from_dict({"title": None, "keywords": None, "authors": "", "license": None})
    assert study == Study()
    assert Organisation.from_dict("TU Wien").to_mifa() == {"organisation_name": "TU Wien"}


def test_versions(mifa: Path) -> None:
    stamp = datetime(2026, 11, 20, 9, 15, tzinfo=UTC)
    version = Version.from_dict({"version": 7, "timestamp": stamp, "previous_version": None})
    assert version.to_mifa() == {"version": "7", "timestamp": "2026-11-20T09:15:00+00:00"}
    assert problems(mifa, "Version", version.to_mifa()) == []
    assert [line.partition(";")[0] for line in Version().findings()] == [
        "no version",
        "timestamp '' is no date and time with an offset, such as 2026-11-20T09:15:00+00:00",
    ]
    assert Version("1", "2026-11-20").findings()


def test_image_facts() -> None:
    movie = schema.movie(
        np.zeros((3, 2, 4, 5, 6), "u2"),
        spacing=(2.0, 0.5, 0.25),
        times=[0.0, 30.0, 70.0],
        channels=["green", "red"],
        attrs={"recording_date": "2015-08-12T10:00:00"},
    )
    assert image_facts(movie) == {
        "axes": "tczyx",
        "sizes": {"t": 3, "c": 2, "z": 4, "y": 5, "x": 6},
        "dtype": "uint16",
        "spacing": [2.0, 0.5, 0.25],
        "interval": 35.0,  # the median of 30 and 40
        "duration": 70.0,
        "channels": ["green", "red"],
        "recording_date": "2015-08-12T10:00:00",
    }
    json.dumps(image_facts(movie))


def test_image_facts_of_a_bare_array() -> None:
    bare = xr.Dataset({"image": (schema.MOVIE_DIMS, np.zeros((2, 1, 1, 2, 2), "u1"))})
    facts = image_facts(bare)
    assert (facts["interval"], facts["duration"], facts["channels"]) == (1.0, 1.0, [])
    assert "recording_date" not in facts
    with pytest.raises(SchemaError, match="no variable 'image'"):
        image_facts(xr.Dataset())
