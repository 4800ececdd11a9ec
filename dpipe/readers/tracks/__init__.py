"""Tracks: tables of many programs, and labels of the Cell Tracking Challenge."""
