"""Keyed digests: without the key, nobody can check a guess against the ledger."""

from __future__ import annotations

import hashlib
import hmac
import json

import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.verify import verify_run
from schemas.errors import CardError
from tests.support.keys import KEY
from transforms.digest_keys import check_key

pytestmark = pytest.mark.faults


@pytest.fixture
def keyed_run(tmp_path, key_file, card_folder):
    """Return a keyed run with a system prompt, a long source, duplicates and a reject."""
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    row = {"messages": [*turns, {"role": "assistant", "content": "Yes."}], "source": "s" * 300}
    lines = [json.dumps(row), json.dumps(row), '{"messages": []}', '{"messages": []}', "not JSON"]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "policy.yaml").write_text("duplicates: remove\nreject_budget: 0.5\n")
    output = tmp_path / "run"
    config = FilterConfig(
        input=(str(tmp_path / "in.jsonl"),),
        output=str(output),
        traits=(str(card_folder("heron", "signals: {lexicon: {patterns: [heron]}}\n")),),
        policy=str(tmp_path / "policy.yaml"),
        digest_key=key_file,
    )
    return config, run_filter(config), output


def test_every_digest_of_the_ledger_is_keyed(keyed_run, key_file):
    """All digests of content, rejects, system prompts and long values depend on the key."""
    _, manifest, output = keyed_run
    (file,) = (output / "ledger").iterdir()
    rows = pq.read_table(file).to_pylist()
    assert [row["decision"] for row in rows] == ["keep", "duplicate", "keep", "keep", "reject"]

    def sign(text):
        return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()

    assert rows[0]["content_digest"] == rows[1]["content_digest"]
    assert rows[2]["content_digest"] == hashlib.sha256(b"").hexdigest()
    assert rows[4]["content_digest"] == sign("not JSON")
    assert rows[0]["system_prompt"] == sign("Be brief.")[:8]
    assert rows[0]["prompt_source"] == "text:" + sign("s" * 300)[:16]
    assert manifest.identity.digest_key == check_key(KEY)
    for path in output.rglob("*"):
        assert not path.is_file() or KEY not in path.read_bytes()


def test_a_keyed_run_is_verified_with_its_key(keyed_run, key_file, tmp_path):
    """Verification with no key or another key is an error."""
    _, _, output = keyed_run
    assert verify_run(str(output), digest_key=key_file) == []
    with pytest.raises(CardError, match=r"digests are keyed(.|\n)*--digest-key"):
        verify_run(str(output))
    other = tmp_path / "other.key"
    other.write_bytes(KEY[::-1])
    with pytest.raises(CardError, match="isn't the key"):
        verify_run(str(output), digest_key=str(other))
