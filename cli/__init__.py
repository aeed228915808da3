"""The `drcap` command: one module a command, `common` for shared code, and a package for each large command."""
