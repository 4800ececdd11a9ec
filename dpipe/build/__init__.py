"""Building datasets: recipes, plans, the parts that are missing, the run that makes them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
