"""The version of this compiler, as lock files record it."""

VERSION = "0.1.0"
