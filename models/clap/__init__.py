"""CLAP backends, one file each, behind the contract in `base`."""
