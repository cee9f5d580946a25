"""Property tests draw the same examples every time; HYPOTHESIS_PROFILE=explore draws new ones, and more."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "fixed", derandomize=True, database=None, deadline=None, max_examples=40, suppress_health_check=_QUIET
)
settings.register_profile("explore", deadline=None, max_examples=400, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
