"""What a manifest says about canaries."""

import pytest
from pydantic import ValidationError

from schemas.canaries import CanaryCount, CanaryRecord

COUNT = {"trait": "heron", "planted": 10, "found": 8, "removed": 8, "low": 0.44, "high": 0.98}


def test_a_record_survives_json():
    """Counts, places and limits come back as they were."""
    record = CanaryRecord(
        digests={"canaries": "ab" * 32},
        places=(("a.jsonl", 3),),
        counts=(CanaryCount.model_validate(COUNT),),
        floor=0.8,
        to_keep=5,
        lost=1,
        budget=0.2,
    )
    assert CanaryRecord.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize(
    "fields", [{"digests": {}}, {"digests": {}, "places": [], "planted": 3}, {"places": []}]
)
def test_other_fields_are_refused(fields):
    """Places and digests are needed, and unknown fields are mistakes."""
    with pytest.raises(ValidationError):
        CanaryRecord.model_validate(fields)
