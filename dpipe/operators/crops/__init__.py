"""Crops around tracked cells, and what becomes of them."""
