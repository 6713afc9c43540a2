"""The vendors this installation knows."""

from __future__ import annotations

from functools import lru_cache

from django.utils.module_loading import import_string

from optico_sync import conf
from optico_sync.exceptions import ConfigurationError
from optico_sync.vendors.base import Vendor

#: One row a vendor; a shop adds its own in ``OPTICO_SYNC["VENDORS"]``.
REGISTRY: dict[str, str] = {
    "optico": "optico_sync.vendors.optico.Optico",
    "ometria": "optico_sync.vendors.ometria.Ometria",
    "optimizely": "optico_sync.vendors.optimizely.Optimizely",
    "guaranteed_reviews": "optico_sync.vendors.guaranteed_reviews.GuaranteedReviews",
}


def vendor_paths() -> dict[str, str]:
    """Vendor name -> dotted path of its class, the shop's own ones included."""
    return {**REGISTRY, **conf.options().VENDORS}


def get_vendor(name: str) -> Vendor:
    """The vendor called ``name``. Raises ``ConfigurationError`` when there is none."""
    try:
        return _load(vendor_paths()[name])
    except KeyError:
        raise ConfigurationError(
            f"There is no vendor {name!r}. Known: {', '.join(sorted(vendor_paths()))}. "
            f"Add it to {conf.SETTING}['VENDORS'] or change the credential."
        ) from None


@lru_cache
def _load(path: str) -> Vendor:
    try:
        vendor = import_string(path)()
    except Exception as error:
        # Whatever a dotted path leads to, and whatever its code does.
        raise ConfigurationError(f"{conf.SETTING}['VENDORS'] names {path!r}, unusable ({error}).") from error
    if not isinstance(vendor, Vendor):
        raise ConfigurationError(f"{path!r} is not a Vendor.")
    return vendor
