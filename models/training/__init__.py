"""Training of model packages: `inspection train`, and the recipes of the packages that ship."""
