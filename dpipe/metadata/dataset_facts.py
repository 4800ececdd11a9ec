"""The facts of Datasets: of movies as REMBI asks for them, and of collections of pictures."""

import xarray as xr

from dpipe import schema
from dpipe.metadata.facts import (
    ArrayHeader,
    CollectionFacts,
    Header,
    ImageFacts,
    movie_facts,
    picture_facts,
)


def image_facts(ds: xr.Dataset) -> ImageFacts:
    """Return the facts of the images of a movie that REMBI asks for, as far as they are known.

    What a table of conditions says is known where the table was joined to the movie:
    ``dpipe.open(store, "leuko", "leuko-conditions")``. In REMBI's terms ``organ`` belongs to the
    biosample, ``stimulus`` to its extrinsic variables, ``channel_content``, ``fluorophores`` and
    ``markers`` to the channels of the specimen's preparation, and ``objective`` to the
    acquisition.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie; its pixels are not read.

    Returns
    -------
    ImageFacts
        ``axes``, ``sizes`` by axis, ``dtype``, ``spacing`` (z, y, x in micrometres), ``interval``
        (seconds; the median where frames are not regular), ``duration`` (seconds from the first
        frame to the last), ``channels``. Where they are known: ``recording_date``, ``organ``,
        ``stimulus``, ``markers``, ``fluorophores``, ``objective`` (texts as in the table), and
        ``channel_content``, one text a channel, "" unknown.

    Raises
    ------
    SchemaError
        The Dataset is no movie.

    Examples
    --------
    >>> import numpy as np
    >>> movie = schema.movie(np.zeros((3, 1, 2, 4, 4), "u2"), spacing=(2, 0.5, 0.5), interval=30)
    >>> facts = image_facts(movie.assign_coords(organ="Spleen"))
    >>> facts["spacing"], facts["interval"], facts["duration"], facts["sizes"]["t"], facts["organ"]
    ([2.0, 0.5, 0.5], 30.0, 60.0, 3, 'Spleen')
    """
    image = schema.IMAGE.check(ds)
    return movie_facts(_header(ds.assign({"image": image})))


def collection_facts(ds: xr.Dataset) -> CollectionFacts:
    """Return the facts of a packed collection of pictures; only its coordinates are read.

    Parameters
    ----------
    ds : xarray.Dataset
        Pictures over ``record``, as a reader gives them.

    Returns
    -------
    CollectionFacts
        ``pictures``, ``dtype``, ``channels``, ``height`` and ``width`` (least, median, largest),
        ``labels`` (how many have one), ``masks_missing``, ``duplicates``, ``put_aside`` and the
        most frequent ``reasons`` by number.
    """
    return picture_facts(_header(ds))


def _header(ds: xr.Dataset) -> Header:
    """Return what a Dataset says of itself; of coordinates their values too."""
    return Header(
        {
            str(name): ArrayHeader(
                tuple(map(str, array.dims)),
                array.shape,
                str(array.dtype),
                array.attrs,
                array.values if name in ds.coords else None,
            )
            for name, array in ds.variables.items()
        },
        ds.attrs,
    )
