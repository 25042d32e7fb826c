"""Recipes of the packages that ship. Fine-tuning needs the extra ``finetune`` (PyTorch)."""
