"""Stages: one module per idea or paper. A recipe names them, `gopher.Quality` is class Quality in stages/gopher.py."""
