"""Devices: what there is to compute on, and where and how each model runs."""
