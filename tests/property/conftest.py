"""Every property test: no deadline on a shared machine, and a failure that can be repeated."""

from hypothesis import settings

settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")
