"""The parts of `drcap evaluate`: its options, and the run that they describe."""
