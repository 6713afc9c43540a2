"""What visitors and agents type."""

from __future__ import annotations

from typing import Any

from django import forms

from shop_demo.models import MAX_QUANTITY, Order, Product


class CartForm(forms.Form):
    """One product and how many of it."""

    sku = forms.ModelChoiceField(Product.objects.filter(is_active=True), to_field_name="sku")
    quantity = forms.IntegerField(min_value=0, max_value=MAX_QUANTITY)


class CheckoutForm(forms.ModelForm):
    class Meta:
        model = Order
        fields = ["customer_name", "email"]
        labels = {"customer_name": "Your name", "email": "Your e-mail"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The model lets an agent leave it out on the phone; here it is where the invoice goes.
        self.fields["email"].required = True
        self.fields["customer_name"].widget.attrs["autocomplete"] = "name"
        self.fields["email"].widget.attrs["autocomplete"] = "email"


class PhoneOrderForm(forms.ModelForm):
    """An order taken on the phone: a field ``quantity_<sku>`` for every product."""

    class Meta:
        model = Order
        fields = ["call_id", "agent", "customer_name", "email"]
        labels = {"call_id": "Call", "agent": "Agent", "customer_name": "Customer", "email": "E-mail (optional)"}
        help_texts = {"call_id": "The number that the call centre shows for this call.", "agent": ""}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["call_id"].required = True
        self.fields["agent"].required = True
        self._products = list(Product.objects.filter(is_active=True))
        for product in self._products:
            self.fields[_quantity(product)] = forms.IntegerField(
                label=product.title, min_value=0, max_value=MAX_QUANTITY, required=False, initial=0
            )

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if not self.errors and not self.chosen_products():
            raise forms.ValidationError("Choose at least one product.")
        return cleaned

    def chosen_products(self) -> list[tuple[Product, int]]:
        """The products with their quantities, once the form is valid."""
        quantities = ((product, self.cleaned_data.get(_quantity(product)) or 0) for product in self._products)
        return [(product, quantity) for product, quantity in quantities if quantity]

    def call_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.Meta.fields]

    def product_fields(self) -> list[tuple[Product, forms.BoundField]]:
        return [(product, self[_quantity(product)]) for product in self._products]


def _quantity(product: Product) -> str:
    return f"quantity_{product.sku}"
