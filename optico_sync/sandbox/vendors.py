"""Which twins there are, and where they listen."""

from optico_sync.sandbox import cart, guaranteed_reviews, ometria, optico, optimizely
from optico_sync.sandbox.twins import Twin

SALES = optico.SalesTwin()
CARTS = cart.CartTwin()
OMETRIA = ometria.OmetriaTwin()
OPTIMIZELY = optimizely.OptimizelyTwin()
REVIEWS = guaranteed_reviews.ReviewsTwin()

# Where twins share a path, the first that speaks the request's dialect takes it.
ROUTES: tuple[tuple[str, str, tuple[Twin, ...]], ...] = (
    ("customer-order", optico.PATH, (cart.CartOrderTwin(), SALES)),
    ("customer-cart", cart.CART_PATH, (CARTS,)),
    ("ometria-orders", ometria.PATH, (OMETRIA,)),
    ("ometria-order", f"{ometria.PATH}/<path:record_id>", (OMETRIA,)),
    ("optimizely-offline-orders", optimizely.PATH, (OPTIMIZELY,)),
    ("reviews-orders", guaranteed_reviews.PATH, (REVIEWS,)),
)

# By vendor, the name that the control API and the journal use.
TWINS: dict[str, Twin] = {twin.vendor: twin for twin in (SALES, CARTS, OMETRIA, OPTIMIZELY, REVIEWS)}
