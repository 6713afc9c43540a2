"""What the control API accepts."""

from typing import Any

from rest_framework import serializers

from optico_sync.sandbox.faults import DEFAULTS, Fault
from optico_sync.sandbox.vendors import TWINS

MAX_SECONDS = 120


class StrictSerializer(serializers.Serializer):
    """Refuses fields it does not know: a misspelt order to the sandbox must not pass for one."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := data.keys() - self.fields.keys()):
            raise serializers.ValidationError({name: ["Unknown field."] for name in sorted(unknown)})
        return super().to_internal_value(data)


class HeaderField(serializers.CharField):
    """Text that can stand in an HTTP header."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not text.isprintable():
            raise serializers.ValidationError("Only printable characters.")
        return text


class FaultParticularsSerializer(StrictSerializer):
    """Every particular any kind of fault may have; `FaultField` says which belongs to which."""

    kind = serializers.ChoiceField(choices=sorted(DEFAULTS))
    seconds = serializers.FloatField(required=False, min_value=0, max_value=MAX_SECONDS)
    interval = serializers.FloatField(required=False, min_value=0, max_value=MAX_SECONDS)
    retry_after = HeaderField(required=False)
    status = serializers.IntegerField(required=False, min_value=200, max_value=599)
    url = HeaderField(required=False)
    content_type = HeaderField(required=False, allow_blank=True)
    body = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    stored = serializers.BooleanField(required=False)


class FaultField(serializers.Field):
    """A fault, written as its kind or as an object."""

    def to_internal_value(self, data: Any) -> Fault:
        particulars = FaultParticularsSerializer(data={"kind": data} if isinstance(data, str) else data)
        particulars.is_valid(raise_exception=True)
        values = dict(particulars.validated_data)
        kind = values.pop("kind")
        if foreign := values.keys() - DEFAULTS[kind].keys():
            raise serializers.ValidationError({name: [f"Not for {kind}."] for name in sorted(foreign)})
        if kind == "redirect" and values.get("status", 302) not in (301, 302, 303, 307, 308):
            raise serializers.ValidationError({"status": ["Not a redirection."]})
        return Fault(kind=kind, values=values)

    def to_representation(self, value: Fault) -> dict[str, Any]:
        return value.as_dict()


class ProbabilitySerializer(StrictSerializer):
    probability = serializers.FloatField(min_value=0, max_value=1)
    faults = serializers.ListField(child=FaultField(), allow_empty=False)
    seed = serializers.IntegerField(required=False, allow_null=True)


class FaultsSerializer(StrictSerializer):
    orders = serializers.DictField(child=serializers.ListField(child=FaultField()), required=False)
    all = FaultField(required=False, allow_null=True)
    probability = ProbabilitySerializer(required=False, allow_null=True)


class StatusSerializer(StrictSerializer):
    name = serializers.CharField(trim_whitespace=False)
    is_sale = serializers.BooleanField()


class ConfigSerializer(StrictSerializer):
    keys = serializers.ListField(child=serializers.CharField(trim_whitespace=False), required=False)
    statuses = StatusSerializer(many=True, required=False)
    latency = serializers.FloatField(required=False, min_value=0, max_value=MAX_SECONDS)
    visits = serializers.ListField(child=serializers.CharField(trim_whitespace=False), required=False, allow_null=True)
    ometria_keys = serializers.ListField(child=serializers.CharField(trim_whitespace=False), required=False)
    ometria_rate = serializers.IntegerField(required=False, min_value=0)
    optimizely_tokens = serializers.DictField(child=serializers.CharField(trim_whitespace=False), required=False)
    reviews_keys = serializers.ListField(child=serializers.CharField(trim_whitespace=False), required=False)


class JournalQuerySerializer(StrictSerializer):
    after = serializers.IntegerField(required=False, min_value=0, default=0)
    id = serializers.CharField(required=False, default=None, trim_whitespace=False, allow_blank=True)
    vendor = serializers.ChoiceField(choices=sorted(TWINS), required=False, default=None)


class RecordsQuerySerializer(StrictSerializer):
    vendor = serializers.ChoiceField(choices=sorted(TWINS))
