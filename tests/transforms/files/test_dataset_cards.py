"""Dataset cards: their splits, and the card for the clean files."""

import pytest
import yaml

from transforms.files.dataset_cards import (
    build_card,
    declare_columns,
    explain_unread,
    forget_columns,
    parse_card,
    read_card,
)


def write_card(*configs):
    """Return a dataset card with these configs."""
    return f"---\nlicense: mit\n{yaml.safe_dump({'configs': list(configs)})}---\n# Title\n"


TWO = write_card(
    {
        "config_name": "main",
        "default": True,
        "data_files": [
            {"split": "train", "path": ["a.jsonl", "more/*.jsonl"]},
            {"split": "held", "path": "./b-[0-4].jsonl"},
        ],
    },
    {"config_name": "code", "data_dir": "code/", "data_files": "x/**/*.jsonl"},
    {"config_name": "rest", "data_dir": "rest"},
)


@pytest.mark.parametrize(
    ("source", "splits"),
    [
        ("a.jsonl", (("main", "train"),)),
        ("A.jsonl", ()),
        ("more/c.jsonl", (("main", "train"),)),
        ("more/deep/c.jsonl", ()),
        ("b-3.jsonl", (("main", "held"),)),
        ("b-7.jsonl", ()),
        ("code/x/c.jsonl", (("code", "train"),)),
        ("code/x/deep/c.jsonl", (("code", "train"),)),
        ("rest/c.jsonl", ()),
    ],
)
def test_a_source_belongs_to_the_splits_whose_globs_match_it(source, splits):
    """`*` matches within a folder, `**` across folders, and plain names match exactly."""
    assert parse_card(TWO).find_splits(source) == splits


def test_globs_of_every_kind():
    """A folder's path matches all files below it, and only glob characters are special."""
    files = [
        {"split": "folder", "path": "data/en/"},
        {"split": "one", "path": "q?.csv"},
        {"split": "not", "path": "r[!0-9].csv"},
        {"split": "dot", "path": "s.csv"},
        {"split": "all", "path": "**"},
    ]
    card = parse_card(write_card({"data_files": files}))
    found = {
        source: [split for _, split in card.find_splits(source) if split != "all"]
        for source in ("data/en/x/y.csv", "data/end.csv", "q1.csv", "q12.csv", "rx.csv", "r1.csv")
    }
    assert found == {
        "data/en/x/y.csv": ["folder"],
        "data/end.csv": [],
        "q1.csv": ["one"],
        "q12.csv": [],
        "rx.csv": ["not"],
        "r1.csv": [],
    }
    assert [split for _, split in card.find_splits("s.csv")] == ["all", "dot"]
    assert [split for _, split in card.find_splits("sxcsv")] == ["all"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# No front matter",
        "---\nlicense: mit\n---\n",
        "---\nconfigs: none\n---\n",
        "---\nconfigs: [x, {config_name: a}]\n---\n",
        "---\nconfigs: [{data_files: []}]\n---\n",
        "---\nconfigs: [{data_files: [{split: train}]}]\n---\n",
        "---\n: [\n---\n",
        "---\n- configs\n---\n",
    ],
)
def test_a_card_without_files_of_splits_is_none(text):
    """Text without configs, or without YAML, isn't a card."""
    assert parse_card(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("released: 2001-99-99", "month must be in"),
        (f"deep: {'[' * 1_000}", "recursion"),
        ("key: [", "parsing"),
        ("configs: [{data_files: [{split: ../x, path: a.csv}]}]", "'../x' can't be the name"),
        (b"configs: [{data_files: caf\xe9.csv}]", "isn't UTF-8"),
        ('configs: [{config_name: "\\ud800", data_files: a.csv}]', "isn't UTF-8"),
        ('configs: [{data_files: "a\\0b"}]', "contains a NUL"),
    ],
)
def test_metadata_that_cannot_be_read_is_explained(tmp_path, text, problem):
    """If a card can't be read, the reason is given, and no error is raised."""
    path = tmp_path / "README.md"
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(b"---\n" + data + b"\n---\n")
    assert read_card(str(path)) is None
    assert problem in explain_unread(str(path))
    path.write_text(TWO, encoding="utf-16")
    assert explain_unread(str(path)) == "it is UTF-16"
    path.write_bytes(TWO.encode() + b"\xff")
    assert explain_unread(str(path)) is None


def test_globs_with_mistakes_and_many_stars():
    """A glob with a mistake matches nothing, and a match takes linear time."""
    globs = ["[z-a].csv", "[!]", "**/" * 40 + "*a" * 40 + "b", "a.csv"]
    card = parse_card(write_card({"data_files": globs}))
    assert card.find_splits("a.csv") == (("default", "train"),)
    assert card.find_splits("a/" * 200 + "a" * 200) == ()


def test_values_of_other_types_are_left_out():
    """Nested values, which aliases can make huge, aren't names, and nulls are absent values."""
    alias = [["x"] * 9] * 9
    names = {"config_name": alias, "default": alias, "data_files": [{"split": alias, "path": "a"}]}
    nulls = {"config_name": None, "data_dir": None, "data_files": [{"split": None, "path": "b"}]}
    card = parse_card(write_card(names, nulls, {"config_name": 3, "data_files": [alias, "c"]}))
    assert card.find_splits("a") == card.find_splits("b") == (("default", "train"),)
    assert card.find_splits("c") == (("3", "train"),)
    assert card.configs == {"default": {}, "3": {"config_name": "3"}}


def test_equal_identities_make_equal_cards():
    """The order of configs and the spelling of a flag change neither the identity nor the card."""
    one, two = ({"config_name": name, "data_files": f"{name}.csv"} for name in "ab")
    stems = [(name, ((name, "train"),)) for name in "ab"]
    texts = [write_card(one | {"default": flag}, two) for flag in (True, "true", 1)]
    cards = [*map(parse_card, texts), parse_card(write_card(two, one | {"default": True}))]
    assert len({str(sorted(card.list_files().items())) for card in cards}) == 1
    assert len({build_card(card, stems) for card in cards}) == 1


def test_a_card_describes_its_splits(tmp_path):
    """A card's description lists its configs and splits."""
    path = tmp_path / "README.md"
    path.write_bytes(b"\xef\xbb\xbf" + TWO.replace("\n", "\r\n").encode() + b"\xff")
    card = read_card(str(path))
    assert card.uri == str(path)
    assert card.describe() == "main: train, held; code: train"


def test_a_card_lists_what_decides_the_outputs():
    """Only the configs' files and settings are listed."""
    found = parse_card(TWO).list_files()
    assert found == {
        "main": {
            "config_name": "main",
            "default": "True",
            "splits": [["train", "a.jsonl", "more/*.jsonl"], ["held", "./b-[0-4].jsonl"]],
        },
        "code": {
            "config_name": "code",
            "data_dir": "code/",
            "splits": [["train", "code/x/**/*.jsonl"]],
        },
        "rest": {"config_name": "rest", "data_dir": "rest"},
    }
    assert parse_card(TWO.replace("# Title", "# Other").replace("mit", "gpl")).list_files() == found
    assert parse_card(TWO.replace("held", "kept")).list_files() != found


def test_the_card_of_clean_lists_the_files_that_exist():
    """The card for `clean/` keeps the order of splits, and omits empty splits."""
    card = parse_card(TWO)
    stems = [
        ("b-3", (("main", "held"),)),
        ("a", (("main", "train"),)),
        ("a", (("main", "train"),)),
        ("more/c", (("main", "train"),)),
        ("other", ()),
    ]
    text = build_card(card, stems)
    assert yaml.safe_load(text.strip("-\n")) == {
        "configs": [
            {
                "config_name": "main",
                "default": True,
                "data_files": [
                    {"split": "train", "path": ["a.part-*", "more/c.part-*"]},
                    {"split": "held", "path": ["b-3.part-*"]},
                ],
            },
            {"config_name": "rest", "data_dir": "rest"},
        ]
    }
    assert parse_card(text).find_splits("more/c.part-000000-e5b50f91413d.jsonl") == (
        ("main", "train"),
    )
    assert build_card(card, [("other", ())]) is None


def test_a_file_may_belong_to_several_splits():
    """A file may be in several splits."""
    card = parse_card(
        write_card(
            {"config_name": "a", "data_files": "*.csv"},
            {"config_name": "b", "data_files": [{"split": "test", "path": "x.csv"}]},
        )
    )
    splits = card.find_splits("x.csv")
    assert splits == (("a", "train"), ("b", "test"))
    assert parse_card(build_card(card, [("x", splits)])).find_splits("x.part-1.csv") == splits


COLUMNS = [{"name": "text", "dtype": "string"}]


def test_a_card_declares_columns_for_each_config():
    """The columns are those of every config, and of a card without configs."""
    alone = yaml.safe_load(declare_columns(None, COLUMNS).split("---")[1])
    assert alone == {"dataset_info": {"features": COLUMNS}}
    configs = [{"config_name": "a", "data_dir": "a"}, {"data_files": "b.part-*"}]
    card = declare_columns(f"---\n{yaml.safe_dump({'configs': configs})}---\n", COLUMNS)
    fields = yaml.safe_load(card.split("---")[1])
    assert fields["configs"] == configs
    assert fields["dataset_info"] == [
        {"config_name": "a", "features": COLUMNS},
        {"config_name": "default", "features": COLUMNS},
    ]
    assert declare_columns(card, [*COLUMNS, *COLUMNS]).count("config_name") == 3


def test_a_card_without_its_columns_is_what_it_was():
    """Declared columns can be taken back, and a card with nothing else is no card."""
    text = "---\nconfigs:\n- config_name: a\n  data_files: a.part-*\n---\n"
    assert forget_columns(declare_columns(text, COLUMNS)) == text
    assert forget_columns(text) == text
    assert forget_columns(declare_columns(None, COLUMNS)) is None
    assert parse_card(declare_columns(None, COLUMNS)) is None
