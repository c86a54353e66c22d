"""`congener swap`: options, output and exit codes."""

import json

import pytest

from tests.support.endpoints import complete, serve


@pytest.fixture
def given(held, tmp_path):
    """Return the arguments of a swap with one donor, and its output."""
    donor = f"big=.{held / 'oak.jsonl'}".replace("=.", "=")
    output = str(tmp_path / "swapped")
    return ["swap", str(held / "run"), "--donor", donor, "--output", output], output


def test_a_swap_shows_outcomes_donors_and_the_next_commands(congener, given):
    """The tables count what was replaced and used, and the last lines say what to do next."""
    words, output = given
    code, out, err = congener(*words)
    assert code == 0, err
    assert "no donor 5" in out
    assert "big" in out
    assert f"done: {output}" in out
    assert f"35 rows in {output}/clean" in out
    assert f"5 rows still wait in quarantine; the prompts are in {output}/swaplist" in out
    assert f"congener verify {output}" in out
    assert "replaced 3 of 8 rows" in err
    code, out, err = congener("verify", output)
    assert code == 0, err
    assert "whole: 40 rows" in out


def test_shares_are_shown_beside_the_answers(congener, held, given):
    """The table has each donor's share and what it gave; mistakes have the exit code 2."""
    words, output = given
    donors = [*words[:2], "--donor", str(held / "cedar.jsonl"), "--donor", str(held / "oak.jsonl")]
    code, _, err = congener(*donors, "--share", "cedar=0.5", "-o", output)
    assert (code, "add up to 0.5, not to 1" in err) == (2, True)
    code, _, err = congener(*donors, "--share", "elm=1", "-o", output)
    assert (code, "the donors are cedar, oak" in err) == (2, True)
    code, out, err = congener(*donors, "--share", "cedar=0.5", "--share", "oak=0.5", "-o", output)
    assert code == 0, err
    assert "of the answers" in out
    assert "50.0%" in out
    assert congener("verify", output)[0] == 0
    code, out, err = congener("report", output)
    assert code == 0, err


def test_json_has_the_record_of_the_swap(congener_json, given):
    """The manifest is printed without its long lists."""
    found = congener_json(*given[0])
    assert found["swap"]["counts"]["outcomes"] == {"replaced": 3, "no donor": 5}
    assert found["swap"]["donors"][0]["name"] == "big"
    assert "outputs" not in found


def test_quiet_prints_nothing(congener, given):
    """Without warnings, a quiet swap says nothing."""
    code, out, err = congener(*given[0], "--quiet")
    assert (code, out.strip(), err.strip()) == (0, "", "")


def test_the_new_run_opens_in_every_command(congener, given):
    """`inspect` and `report` show the swapped rows."""
    words, output = given
    assert congener(*words, "--quiet")[0] == 0
    code, out, err = congener("inspect", output, "--decision", "swap")
    assert code == 0, err
    assert "oak answer 31." in out
    assert "3 rows with the decision swap" in out
    code, out, err = congener("inspect", output, "--trait", "heron")
    assert code == 0, err
    code, out, err = congener("report", output)
    assert code == 0, err
    code, out, err = congener("verify", output)
    assert code == 0, err
    code, out, err = congener("traits", "thresholds", output)
    assert code == 0, err


def test_a_second_command_is_refused(congener, given):
    """A finished swap isn't overwritten without --restart."""
    words, _ = given
    assert congener(*words)[0] == 0
    code, _, err = congener(*words)
    assert code == 4
    assert "finished" in err
    assert congener(*words, "--restart")[0] == 0


@pytest.mark.parametrize(
    ("leave", "said"),
    [("--donor", "a donor is needed"), ("--output", "--output is needed")],
)
def test_donor_and_output_are_needed(congener, given, leave, said):
    """The remedy is a whole command."""
    words = [*given[0]]
    place = words.index(leave)
    del words[place : place + 2]
    code, _, err = congener(*words)
    assert code == 2
    assert said in err
    assert "--donor CORPUS --output RUN2" in err


def test_mistakes_are_refused(congener, given, tmp_path):
    """An unknown action, a distance that isn't one, and a missing donor have their exit codes."""
    words, _ = given
    code, _, err = congener(*words, "--replace", "drop")
    assert code == 2
    assert "the actions are swap and quarantine" in err
    assert congener(*words, "--near", "1")[0] == 2
    assert congener(*words, "--near", "nan")[0] == 2
    code, _, err = congener(*words, "--donor", str(tmp_path / "nowhere.jsonl"))
    assert code == 2
    assert "nowhere" in err
    code, _, err = congener("swap", str(tmp_path), *words[2:])
    assert code == 4
    assert "is not a run" in err


def test_inspect_says_how_to_get_swapped_rows(congener, held):
    """In a run without a swap, no row has that decision."""
    code, _, err = congener("inspect", str(held / "run"), "--decision", "swap")
    assert code == 4
    assert "congener swap" in err


def test_requests_are_written_for_a_batch(congener, congener_json, held, tmp_path):
    """One line for each waiting prompt, and the next command is named."""
    path = tmp_path / "batch.jsonl"
    words = ["swap", str(held / "run"), "--requests", str(path)]
    code, _, err = congener(*words)
    assert code == 2
    assert "--model NAME" in err
    code, out, err = congener(*words, "--model", "elm", "--reply-tokens", "7")
    assert code == 0, err
    assert "8 requests in" in out
    assert "--answers OUTPUT --output RUN2" in out
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["body"]["model"] for line in lines} == {"elm"}
    assert {line["body"]["max_tokens"] for line in lines} == {7}
    assert congener_json(*words, "--model", "elm") == {"path": str(path), "requests": 8}


def test_what_waits_is_written_for_a_model(congener, given):
    """With a model's name, the output names the file of requests and the next command."""
    words, output = given
    for name in (" ", "el\nm", "\udce9lm"):
        code, _, err = congener(*words, "--model", name)
        assert (code, "give the name of the model" in err) == (2, True)
    code, out, err = congener(*words, "--model", "elm")
    assert code == 0, err
    assert f"5 requests for elm: {output}/swaplist/requests-0001.jsonl" in out
    assert f"congener swap {output} --answers REPLIES --output RUN3" in out
    assert congener("verify", output)[0] == 0


def test_a_swap_says_how_to_ask_a_model(congener, given):
    """Without a model's name, the last lines name the command that writes the requests."""
    words, output = given
    code, out, err = congener(*words)
    assert code == 0, err
    assert f"congener swap {output} --requests FILE --model NAME" in out


def test_a_run_without_waiting_prompts_has_no_requests(congener, run, tmp_path):
    """The error says which rows wait for another teacher."""
    words = ("--requests", str(tmp_path / "batch.jsonl"), "--model", "elm")
    code, _, err = congener("swap", str(run[0]), *words)
    assert code == 4
    assert "the action swap" in err


def test_answers_of_a_batch_are_swapped_in(congener, held, tmp_path):
    """The requests' ids lead each answer to its row."""
    path = tmp_path / "batch.jsonl"
    words = ["swap", str(held / "run")]
    assert congener(*words, "--requests", str(path), "--model", "elm")[0] == 0
    ids = [json.loads(line)["custom_id"] for line in path.read_text().splitlines()]
    body = {"choices": [{"message": {"role": "assistant", "content": "Elm."}}], "model": "elm"}
    lines = [
        json.dumps({"custom_id": name, "response": {"status_code": 200, "body": body}})
        for name in ids[:3]
    ]
    answers = tmp_path / "out.jsonl"
    answers.write_text("\n".join(lines))
    output = str(tmp_path / "swapped")
    code, out, err = congener(*words, "--answers", str(answers), "-o", output)
    assert code == 0, err
    assert "3 usable answers to 8 prompts" in err
    assert "no donor 5" in out
    assert congener("verify", output)[0] == 0


def test_an_endpoint_is_asked_within_its_limits(congener, held, tmp_path):
    """What was spent is shown, and a prompt beyond the limit still waits."""
    output = str(tmp_path / "swapped")
    with serve(lambda *_: complete("Elm.")) as server:
        words = ["swap", str(held / "run"), "--endpoint", server.url, "--output", output]
        code, _, err = congener(*words)
        assert code == 2
        assert "--model NAME" in err
        code, _, err = congener(*words, "--model", "elm")
        assert code == 2
        assert "a limit is needed" in err
        words += ["--model", "elm", "--max-rows", "5", "--prices", "1", "2"]
        code, _, err = congener(*words, "--donor", "x.jsonl")
        assert code == 2
        assert "swap with the donors first" in err
        code, out, err = congener(*words)
    assert code == 0, err
    assert "5 requests, 75 tokens, cost 0.0" in err
    assert "3 prompts not asked about, because of a limit" in err
    assert "no donor 3" in out


def test_sentences_are_replaced_on_request(congener, given):
    """The table counts masked rows, and `inspect` says what was done."""
    words, output = given
    code, out, err = congener(*words, "--spans")
    assert code == 0, err
    assert "masked" in out
    assert "still carries a trait" in out
    code, out, err = congener("verify", output)
    assert code == 0, err
