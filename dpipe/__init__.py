"""dpipe turns raw bioimage collections into cloud-native, quality-checked, AI-ready data.

A **reader** turns a foreign file into a lazy xarray Dataset. The **store** keeps Datasets as
OME-Zarr. An **operator** turns a Dataset into a Dataset, block by block. A **recipe** says which
operators make which datasets from which sources; a **run** does the part of it that is missing,
in partitions that can be repeated. The **catalog** records what exists and how it came to be. A
**writer** turns a Dataset into a foreign file.

    tree = dpipe.open("s3://lab/store", "leuko")         # lazy, one child per movie
    quality = dpipe.each(tree, dpipe.frame_quality)      # lazy too
    dpipe.save(quality, "s3://lab/store", "leuko-quality", message="median of 5")

The packages stand in an order, each uses only those before it. Vocabulary (``schema``,
``metadata``), machines (``compute``, ``workers``, ``storage``, ``sources``, ``formats``,
``expressions``), shelves (``operators``, ``readers``, ``writers``), service (``catalog``,
``build``, ``checks``, ``doctor``, ``api``, ``census``, ``service``), doors (``plot``, ``report``,
``batches``, ``sklearn``, ``view``, ``demo``, ``cli``).
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
