"""Trains a decoder on text alone: `drcap train`."""
