"""The command line: one file per verb, on top of frontends, compiler and runtime."""
