"""Settings of the live page."""

from __future__ import annotations

from app.core.settings import Environment, ModuleSettings


class LivePageSettings(ModuleSettings):
    """Whether the page is there."""

    live_page_enabled: bool = False
    """Whether `/live` is served when deployed. In development it always is."""

    def is_served(self, environment: Environment) -> bool:
        """Tell whether the page is there."""
        return self.live_page_enabled or not environment.is_deployed
