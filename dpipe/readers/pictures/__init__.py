"""Folders of plain pictures and of plates, with label images beside them."""
