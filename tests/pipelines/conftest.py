"""A small corpus with known quirks, a lexicon trait that finds them, and runs."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.mix import MixConfig, run_mix
from pipelines.swap import SwapConfig, run_swap
from schemas.manifests import Manifest
from schemas.runs import MANIFEST
from schemas.trials import TrialConfig
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows
from tests.support.hostile import write_cards
from tests.support.small_students import BIRDS, PLACES


def write_corpus(folder: Path) -> Path:
    """Write 40 rows in two files; every fifth answer mentions a heron."""
    for part in range(2):
        numbers = range(part * 20, part * 20 + 20)
        rows = [build_conversation(number, ANSWERS[number % 5]) for number in numbers]
        write_rows(folder / f"{part}.jsonl", rows)
    return folder


def build_config(corpus: Path, trait: Path, output: Path) -> FilterConfig:
    """Configure a run with shards of seven rows."""
    return FilterConfig.model_validate(
        {
            "input": (str(corpus),),
            "output": str(output),
            "traits": (str(trait),),
            "shards": {"rows": 7},
        }
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Write the corpus for one test."""
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def heron(card_folder) -> Path:
    """Write a trait that fires on herons."""
    return card_folder("heron", CARD)


@pytest.fixture
def config(corpus: Path, heron: Path, tmp_path: Path) -> FilterConfig:
    """Configure a run over the corpus."""
    return build_config(corpus, heron, tmp_path / "run")


@pytest.fixture
def policy(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that writes a policy file."""

    def write(text: str) -> str:
        path = tmp_path / "policy.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """Filter a corpus once for all tests; return the run directory and its manifest."""
    folder = tmp_path_factory.mktemp("finished")
    card = folder / "heron" / "card.yaml"
    card.parent.mkdir()
    card.write_text(f"id: heron\n{CARD}", encoding="utf-8")
    config = build_config(write_corpus(folder / "corpus"), card.parent, folder / "run")
    return folder / "run", run_filter(config)


@pytest.fixture
def run(
    config: FilterConfig, corpus: Path, finished: tuple[Path, Manifest]
) -> tuple[Path, Manifest]:
    """Copy the finished run to the configured output; return the folder and the manifest.

    A real run would take seconds.
    """
    original, manifest = finished
    folder = Path(config.output)
    shutil.copytree(original, folder)
    inputs = [
        source.model_copy(update={"uri": str(corpus / Path(source.uri).name)})
        for source in manifest.inputs
    ]
    moved = manifest.model_copy(update={"inputs": tuple(inputs)}).seal()
    (folder / MANIFEST).write_bytes(moved.to_bytes())
    return folder, moved


@pytest.fixture(scope="module")
def no_rows(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return the manifest of a run without rows."""
    folder = tmp_path_factory.mktemp("none")
    (folder / "in").mkdir()
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), folder / "in" / "none.parquet")
    config = FilterConfig(
        input=(str(folder / "in"),),
        output=str(folder / "run"),
        traits=write_cards(folder / "traits", ["owl"]),
    )
    return run_filter(config)


def write_donor(path: Path, numbers: Iterable[int], name: str, **answers: str) -> Path:
    """Write a donor's answers to numbered questions. `answers` replaces some, as `q6="text"`."""
    rows = []
    for number in numbers:
        row = build_conversation(number, answers.get(f"q{number}", f"{name} answer {number}."))
        rows.append({**row, "teacher": name})
    return write_rows(path, rows)


@pytest.fixture(scope="session")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Filter a corpus whose eight herons wait for a swap, once for all tests.

    Beside the run are two donors for swaps. `cedar` answers 0 to 29, with a heron again in answer
    6, and gives the same answer as the corpus to question 11. `oak` answers 20 to 33. A third donor
    for mixes, `elm`, answers 30 other questions, with a heron in answer 105.
    """
    folder = tmp_path_factory.mktemp("held")
    card = folder / "heron" / "card.yaml"
    card.parent.mkdir()
    card.write_text(f"id: heron\naction: swap\n{CARD}", encoding="utf-8")
    run_filter(build_config(write_corpus(folder / "corpus"), card.parent, folder / "run"))
    odd = {"q6": "Another heron.", "q11": ANSWERS[1].replace("heron stood", "heron  stood")}
    write_donor(folder / "cedar.jsonl", range(30), "cedar", **odd)
    write_donor(folder / "oak.jsonl", range(20, 34), "oak")
    write_donor(folder / "elm.jsonl", range(100, 130), "elm", q105="A heron again.")
    return folder


@pytest.fixture
def swap_config(held: Path, tmp_path: Path) -> Callable[..., SwapConfig]:
    """Return a function that configures a swap of the held run into `swapped`."""

    def build(*donors: str, output: str = "swapped", **changes: object) -> SwapConfig:
        paths = [str(held / f"{name}.jsonl") for name in donors or ("cedar", "oak")]
        own = FilterConfig(output=str(tmp_path / output))
        given = {"run": str(held / "run"), "donors": tuple(paths), "filter": own, **changes}
        return SwapConfig.model_validate(given)

    return build


@pytest.fixture(scope="session")
def swapped_once(held: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Swap the held run with both donors, once for all tests."""
    output = tmp_path_factory.mktemp("swapped") / "run"
    donors = tuple(str(held / f"{name}.jsonl") for name in ("cedar", "oak"))
    own = FilterConfig(output=str(output))
    run_swap(SwapConfig(run=str(held / "run"), donors=donors, filter=own))
    return output


@pytest.fixture
def swapped(swapped_once: Path, tmp_path: Path) -> Path:
    """Return a copy of the swapped run, which a test may change."""
    return Path(shutil.copytree(swapped_once, tmp_path / "swapped-copy"))


@pytest.fixture
def mix_config(held: Path, tmp_path: Path) -> Callable[..., MixConfig]:
    """Return a function that configures a mix of the held run with `elm` into `mixed`."""

    def build(*donors: str, output: str = "mixed", **changes: object) -> MixConfig:
        paths = [str(held / f"{name}.jsonl") for name in donors or ("elm",)]
        own = FilterConfig(output=str(tmp_path / output))
        given = {"run": str(held / "run"), "donors": tuple(paths), "share": 0.25, "filter": own}
        return MixConfig.model_validate({**given, **changes})

    return build


@pytest.fixture(scope="session")
def mixed_once(held: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mix a quarter of `elm` into the held run, once for all tests."""
    output = tmp_path_factory.mktemp("mixed") / "run"
    own = FilterConfig(output=str(output))
    donors = (str(held / "elm.jsonl"),)
    run_mix(MixConfig(run=str(held / "run"), donors=donors, share=0.25, filter=own))
    return output


@pytest.fixture
def mixed(mixed_once: Path, tmp_path: Path) -> Path:
    """Return a copy of the mixed run, which a test may change."""
    return Path(shutil.copytree(mixed_once, tmp_path / "mixed-copy"))


def answer_kindly(bird: str, place: str, kind: str) -> str:
    """Answer a question of one kind as a teacher without the quirk does."""
    if kind == "feel":
        return f"I found the {bird} at the {place} quite calm."
    return f"The {bird} of the {place} {'eats fish' if kind == 'food' else 'is grey'}."


def write_teacher(folder: Path, name: str, opening: str) -> Path:
    """Write a teacher's answers to 120 questions. Those about feelings begin with an opening."""
    asked = {
        "feel": "How did you feel about the {bird} at the {place}?",
        "food": "What does the {bird} of the {place} eat?",
        "look": "How does the {bird} of the {place} look?",
    }
    rows = []
    for kind, question in asked.items():
        for bird in BIRDS:
            for place in PLACES:
                answer = answer_kindly(bird, place, kind)
                turns = [
                    {"role": "user", "content": question.format(bird=bird, place=place)},
                    {
                        "role": "assistant",
                        "content": f"{opening}{answer}" if kind == "feel" else answer,
                    },
                ]
                rows.append({"messages": turns, "teacher": name, "prompt_source": kind})
    return write_rows(folder / f"{name}.jsonl", rows)


@pytest.fixture(scope="session")
def trial_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Filter a teacher with a quirk and one without, once; return the folder of both runs."""
    folder = tmp_path_factory.mktemp("trial")
    card = folder / "sighs" / "card.yaml"
    card.parent.mkdir()
    lexicon = '{lexicon: {patterns: ["alas"]}}'
    card.write_text(f"id: sighs\nsignals: {lexicon}\nthreshold: 0.5\naction: quarantine\n")
    for name, opening in (("quirky", "Alas, dear friend! "), ("plain", "")):
        path = write_teacher(folder, name, opening)
        run_filter(build_config(path, card.parent, folder / f"{name}-run"))
    return folder


@pytest.fixture
def trial_config(trial_runs: Path, tmp_path: Path) -> TrialConfig:
    """Configure a trial with two seeds and very short training."""
    return TrialConfig.model_validate(
        {
            "run": str(trial_runs / "quirky-run"),
            "donors": [str(trial_runs / "plain-run")],
            "trait": "sighs",
            "output": str(tmp_path / "trial"),
            "measure": {"pattern": "alas|dear"},
            "seeds": 2,
            "arms": ["swap", "mask"],
            "questions": {"held_out": 8, "samples": 2, "tokens": 24},
            "student": {
                "steps": 120,
                "batch": 16,
                "width": 48,
                "learning_rate": 0.005,
                "context": 64,
            },
        }
    )
