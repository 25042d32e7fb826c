"""Training recipes. They need the ``train`` extra (PyTorch); nothing at run time imports them."""
