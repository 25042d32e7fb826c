"""Recipes of the two packages that ship. They need the ``train`` extra (PyTorch); nothing at run time imports them."""
