"""The version of wsec, for `--version`, images and packaging."""

VERSION = "0.1.0"
