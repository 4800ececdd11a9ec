"""Pictures of datasets: Figure 3 of a study, a gallery of crops, a movie's quality sheet.

Each function takes Datasets or DataTrees and returns a matplotlib Figure that belongs to nobody
else: no pyplot, no global state, so that threads may draw. Colours are told apart by people who
see fewer of them, and never stand alone. Needs the extra ``plot``.

This module knows what is shown; how numbers, crops and ink become pictures stands in its private
neighbours. Stores are only read, by `gather`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
