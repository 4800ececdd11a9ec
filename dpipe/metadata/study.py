"""What a dataset says about itself: the study-level record of MIFA, and the facts of its images.

MIFA (metadata, incentives, formats and accessibility guidelines for annotations) names what a
study has to say; its official JSON Schema wants lists, and publications keyed by their DOI.
People write less: a scalar for a list of one, ``"Last, First"`` for an author. Both are read, and
the official shape is written. What the record lacks is reported and never invented.

This module knows dictionaries and Datasets; it knows nothing of files or stores.
"""

import datetime as dt
import itertools
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from dpipe.errors import UsageError, unknown
from dpipe.schema import Attributes

__all__ = [
    "Author",
    "Grant",
    "Organisation",
    "Publication",
    "Study",
    "Version",
]

_EMAIL = re.compile(r"^\S+@[\S+.]+\S+$")
_ORCID = re.compile(r"^(https?://orcid\.org/|ORCID:)?(\d{4}-){3}\d{3}[\dX]$", re.IGNORECASE)
_DOI = re.compile(r"(https?://(dx\.)?doi\.org/|doi:)?10\.\d+/\S+$", re.IGNORECASE)
_MIFA_LICENSES = {"CC0": "CC0", "CC0-1.0": "CC0", "CC-BY": "CC_BY", "CC-BY-4.0": "CC_BY"}
_REQUIRED = ("title", "description", "keywords", "license", "funding_statement", "link_url")


class _Record:
    """A dataclass whose fields are texts, lists of texts or lists of other records."""

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Read a mapping; scalars stand for lists of one, and nothing for an empty text.

        Parameters
        ----------
        record : mapping
            Keys are the names of the fields.

        Returns
        -------
        record
            Of this class.

        Raises
        ------
        UsageError
            An unknown key, or a value of the wrong kind.
        """
        where = cls.__name__.lower()
        if not isinstance(record, Mapping):
            raise UsageError(f"{where}: found {_kind(record)}; expected a mapping")
        hints = typing.get_type_hints(cls)
        for key in record:
            if key not in hints:
                raise UsageError(unknown(f"{where} key", str(key), hints))
        return cls(**{k: _read(hints[k], v, f"{where} {k}") for k, v in record.items()})

    def to_mifa(self) -> Attributes:
        """Return the mapping of MIFA's JSON Schema: lists are lists, what is empty is left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {key: _write(value) for key, value in values.items() if value}


@dataclass(frozen=True)
class Organisation(_Record):
    """Where an author works; a text alone is its name."""

    organisation_name: str = ""
    address: str = ""
    ror_id: str = ""

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Read a mapping or a name."""
        return super().from_dict(
            {"organisation_name": record} if isinstance(record, str) else record
        )


@dataclass(frozen=True)
class Author(_Record):
    """A person, or an organisation, which has a last name only."""

    author_first_name: str = ""
    author_last_name: str = ""
    email: str = ""
    orcid_id: str = ""
    role: tuple[str, ...] = ()
    organisation: tuple[Organisation, ...] = ()

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Read a mapping, ``"Last, First"``, or the name of an organisation.

        Examples
        --------
        >>> Author.from_dict("Ambros, Inge M.").author_first_name
        'Inge M.'
        >>> Author.from_dict("TU Wien").author_last_name
        'TU Wien'
        """
        if isinstance(record, str):
            last, _, first = record.partition(",")
            record = {"author_last_name": last.strip(), "author_first_name": first.strip()}
        return super().from_dict(record)

    def to_mifa(self) -> Attributes:
        """Return the mapping of MIFA's JSON Schema, which wants both names."""
        names = {
            "author_first_name": self.author_first_name,
            "author_last_name": self.author_last_name,
        }
        return names | super().to_mifa()

    def findings(self) -> list[str]:
        """Return a line on each member that is missing or malformed."""
        name = ", ".join(filter(None, (self.author_last_name, self.author_first_name)))
        wrong = []
        if not self.author_last_name:
            wrong.append("no last name")
        elif not self.author_first_name:
            wrong.append("no first name; a person is written 'Last, First'")
        if self.email and not _EMAIL.match(self.email):
            wrong.append(f"email {self.email!r} is none")
        if self.orcid_id and not _ORCID.match(self.orcid_id):
            wrong.append(f"orcid_id {self.orcid_id!r} is none; expected 0000-0000-0000-0000")
        return [f"author {name!r}: {text}" for text in wrong]


@dataclass(frozen=True)
class Publication(_Record):
    """An article about the data."""

    publication_title: str = ""
    publication_authors: str = ""
    publication_doi: str = ""
    publication_year: str = ""
    pubmed_id: str = ""


@dataclass(frozen=True)
class Grant(_Record):
    """Who paid, by which grant."""

    grant_id: str = ""
    funder: str = ""


@dataclass(frozen=True)
class Study(_Record):
    """The study that a dataset belongs to, by the names of MIFA.

    Attributes
    ----------
    title, description, acknowledgements, funding_statement : str
        Texts; the description must contain the biological application.
    keywords, ai_models_trained, link_url, link_description : tuple of str
        Lists of texts.
    license : str
        An SPDX identifier such as ``CC-BY-4.0``.
    authors, publications, grants : tuple
        Records of their own.
    """

    title: str = ""
    description: str = ""
    keywords: tuple[str, ...] = ()
    license: str = ""
    authors: tuple[Author, ...] = ()
    funding_statement: str = ""
    acknowledgements: str = ""
    grants: tuple[Grant, ...] = ()
    publications: tuple[Publication, ...] = ()
    ai_models_trained: tuple[str, ...] = ()
    link_url: tuple[str, ...] = ()
    link_description: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Read a study as people write it, or as ``to_mifa`` or ``dataclasses.asdict`` give it.

        Parameters
        ----------
        record : mapping
            Keys are MIFA's. A scalar stands for a list of one, ``"Last, First"`` or the name of
            an organisation for an author, and publications may be keyed by their DOI.

        Returns
        -------
        Study
            Its licence in the spelling of SPDX where it is known.

        Raises
        ------
        UsageError
            An unknown key, or a value of the wrong kind.

        Examples
        --------
        >>> study = Study.from_dict({"title": "Dying cells", "license": "CC BY 4.0"})
        >>> study.license, study.to_mifa()["license"]
        ('CC-BY-4.0', 'CC_BY')
        """
        if isinstance(record, Mapping):
            record = dict(record)
            keyed = record.get("publications")
            if isinstance(keyed, Mapping) and all(isinstance(v, Mapping) for v in keyed.values()):
                record["publications"] = [
                    ({"publication_doi": k} if _DOI.match(str(k)) else {}) | dict(v)
                    for k, v in keyed.items()
                ]
            if isinstance(record.get("license"), str):
                record["license"] = _spdx(record["license"])
        return super().from_dict(record)

    def to_mifa(self) -> Attributes:
        """Return the mapping of MIFA's JSON Schema.

        Returns
        -------
        dict
            Valid by the official schema if ``findings`` is empty. A licence that MIFA does not
            know keeps its name, which the schema refuses: it is not turned into another licence.
        """
        mapping: Attributes = {"keywords": [], "link_url": []} | super().to_mifa()
        if self.license:
            mapping["license"] = _MIFA_LICENSES.get(self.license, self.license)
        if "publications" in mapping:
            mapping["publications"] = _keyed(mapping["publications"])
        return mapping

    def findings(self) -> list[str]:
        """Return a line on each member that MIFA requires and the record lacks.

        Returns
        -------
        list of str
            One line each; empty if the record is complete.

        Examples
        --------
        >>> Study.from_dict({"title": "Dying cells", "license": "CC-BY-NC-4.0"}).findings()[-1]
        "license 'CC-BY-NC-4.0' is not one of MIFA's, CC0-1.0 and CC-BY-4.0; it is kept as it is"
        """
        lines = [f"no {name}; MIFA requires it" for name in _REQUIRED if not getattr(self, name)]
        for author in self.authors:
            lines += author.findings()
            lines += [
                f"author {author.author_last_name!r}: an organisation has no organisation_name"
                for place in author.organisation
                if not place.organisation_name
            ]
        for number, paper in enumerate(self.publications, 1):
            lines += [
                f"publication {number}: no {name}; MIFA requires it"
                for name in ("publication_title", "publication_authors", "publication_doi")
                if not getattr(paper, name)
            ]
        lines += [
            f"grant {number}: no grant_id or no funder; MIFA requires both"
            for number, grant in enumerate(self.grants, 1)
            if not (grant.grant_id and grant.funder)
        ]
        if self.license and self.license not in _MIFA_LICENSES:
            lines.append(
                f"license {self.license!r} is not one of MIFA's, CC0-1.0 and CC-BY-4.0; "
                "it is kept as it is"
            )
        return lines


@dataclass(frozen=True)
class Version(_Record):
    """A version of a dataset: its name, when it was made, and how it differs from the one before.

    Attributes
    ----------
    version, changes, previous_version : str
        Texts; the last is a URL or identifier.
    timestamp : str
        Date and time of ISO 8601, with the offset from UTC.
    """

    version: str = ""
    timestamp: str = ""
    changes: str = ""
    previous_version: str = ""

    def findings(self) -> list[str]:
        """Return a line on each member that MIFA requires and the record lacks."""
        lines = [] if self.version else ["no version; MIFA requires it"]
        try:
            offset = dt.datetime.fromisoformat(self.timestamp).tzinfo
        except ValueError:
            offset = None
        if not offset:
            lines.append(
                f"timestamp {self.timestamp!r} is no date and time with an offset, such as "
                "2026-11-20T09:15:00+00:00"
            )
        return lines


def _keyed(publications: Sequence[dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return publications by DOI; one without by its title, further ones of a DOI by a number."""
    keyed: dict[str, dict[str, str]] = {}
    for number, paper in enumerate(publications, 1):
        name = paper.get("publication_doi") or paper.get("publication_title")
        name = name or f"publication {number}"
        names = itertools.chain([name], (f"{name} ({n})" for n in itertools.count(2)))
        keyed[next(key for key in names if key not in keyed)] = paper
    return keyed


def _read(hint: Any, value: Any, where: str) -> Any:
    """Read a text, a tuple of texts or a tuple of records."""
    if hint is str:
        return _text(value, where)
    member = typing.get_args(hint)[0]
    if value is None or value == "":
        return ()
    many = value if isinstance(value, list | tuple) else [value]
    if member is str:
        return tuple(_text(item, where) for item in many)
    return tuple(item if isinstance(item, member) else member.from_dict(item) for item in many)


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.datetime | dt.date):  # YAML knows dates
        return value.isoformat()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"{where}: found {_kind(value)}; expected a text")
    return str(value).strip()


def _write(value: Any) -> Any:
    if isinstance(value, _Record):
        return value.to_mifa()
    return [_write(item) for item in value] if isinstance(value, tuple) else value


def _kind(value: Any) -> str:
    kinds = {list: "a list", tuple: "a list", dict: "a mapping", type(None): "nothing"}
    return kinds.get(type(value), repr(value))


def _spdx(text: str) -> str:
    """Spell a Creative Commons licence as SPDX does; any other is left as it is."""
    address = re.fullmatch(
        r"https?://creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)/?.*",
        text.strip(),
    )
    if address:
        text = "CC0-1.0" if address[2] == "zero" else f"CC-{address[2]}-{address[3]}"
    name = re.sub(r"[\s_]+", "-", text.strip()).upper()
    return name if name.startswith("CC") else text.strip()
