"""The machine: what it has, and where and how each model runs on it.

`hardware` finds CPU and GPUs, `plan` decides, `cores` shares out the CPU, `int8` holds linear layers for CPUs.
"""
