"""Numba kernels over (bytes, start, end): what every stage that looks at text is built on."""
