"""Small TIFF around single cells, as the Leuko-Death study publishes them."""
