from .crop_gallery import Row, holds_crops
from .figure3_data import LETTERS, Panel
from .figures import figure3, gallery, gather, movie_sheet, panels, png, rows, save
from .style import COLORS, available

__all__ = [
    "COLORS",
    "LETTERS",
    "Panel",
    "Row",
    "available",
    "figure3",
    "gallery",
    "gather",
    "holds_crops",
    "movie_sheet",
    "panels",
    "png",
    "rows",
    "save",
]
