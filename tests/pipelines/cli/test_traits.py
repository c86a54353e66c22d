"""`congener traits`: list, show, new and check."""


def test_the_library_is_listed(congener, congener_json):
    """Every library trait has a line in the text and an entry in the JSON."""
    code, out, err = congener("traits", "list")
    assert code == 0, err
    cards = congener_json("traits", "list")
    assert len(cards) > 3
    assert all(card["id"] in out for card in cards)


def test_optional_traits_are_listed_last(congener, congener_json):
    """The library's optional traits come last, with how a run looks for them."""
    code, out, err = congener("traits", "list")
    assert code == 0, err
    assert "--traits library --traits refusal" in " ".join(out.split())
    cards = congener_json("traits", "list")
    assert [card["id"] for card in cards if card["optional"]] == [cards[-1]["id"]] == ["refusal"]
    assert all(card["library"] for card in cards)


def test_a_folder_is_listed(congener_json, heron):
    """A folder lists only its own traits."""
    (card,) = congener_json("traits", "list", str(heron))
    assert (card["id"], card["signals"], card["positives"]) == ("heron", ["lexicon"], 0)


def test_a_card_is_shown(congener, card_folder):
    """A card's page has the title, sources, signals, first texts and number of texts."""
    card = (
        "title: Talk of rain\ndescription: Rain.\n"
        'seen_in: [{where: "a model", source: "a paper"}]\nsignals: [head]\n'
    )
    positives = [f"It rains [bold]{number}[/]." for number in range(5)]
    folder = card_folder("rain-talk", card, positives)
    code, out, err = congener("traits", "show", str(folder))
    assert code == 0, err
    assert "rain-talk: Talk of rain" in out
    assert "seen in: a model (a paper)" in out
    assert "5 positives, for example" in out
    assert [f"[bold]{number}[/]" in out for number in range(5)] == [True] * 3 + [False] * 2


def test_a_card_in_json_has_all_texts(congener_json, card_folder):
    """A card's JSON has its fields and every text."""
    folder = card_folder("rain-talk", "signals: [head]\n", [f"Rain {n}." for n in range(5)])
    found = congener_json("traits", "show", str(folder))
    assert found["id"] == "rain-talk"
    assert found["positives"] == [f"Rain {n}." for n in range(5)]


def test_a_new_card_can_be_checked(congener, tmp_path):
    """A new card has a folder, and the next commands are printed."""
    folder = tmp_path / "my-trait"
    code, out, err = congener("traits", "new", str(folder))
    assert code == 0, err
    assert (folder / "card.yaml").exists()
    assert f"congener traits check {folder}" in out


def test_a_new_card_on_a_store_is_refused(congener, tmp_path, monkeypatch):
    """A card on a store is refused, and no folder named gs: is created."""
    monkeypatch.chdir(tmp_path)
    code, _, err = congener("traits", "new", "gs://bucket/my-trait")
    assert code == 2
    assert "must be on this machine's disk" in err
    assert list(tmp_path.iterdir()) == []


def test_checked_cards_have_advice(congener, congener_json, heron):
    """A valid card is ok, with advice on improvements."""
    code, out, err = congener("traits", "check", str(heron))
    assert code == 0, err
    assert out.startswith("heron: ok, 0 positives, 0 hard negatives\n")
    (found,) = congener_json("traits", "check", str(heron))
    assert [f"  advice: {note}" for note in found["advice"]] == out.splitlines()[1:]


def test_a_mistake_in_a_text_names_the_line(congener, card_folder):
    """The error for a malformed line names the file and the line."""
    folder = card_folder("rain-talk", "signals: [head]\n", ["One.", "Two.", "Three.", "Four."])
    lines = (folder / "positives.jsonl").read_text().splitlines()
    (folder / "positives.jsonl").write_text("\n".join([lines[0], "oops", *lines[1:]]) + "\n")
    code, _, err = congener("traits", "check", str(folder))
    assert code == 2
    assert "positives.jsonl line 2" in err


def test_an_unknown_trait_names_the_librarys(congener):
    """The error for an unknown name lists the library's traits."""
    code, _, err = congener("traits", "show", "no-such-trait")
    assert code == 2
    assert "library" in err


def test_a_card_is_shown_with_the_worth_of_its_signals(congener, congener_json, card_folder):
    """With a bank, the page and the JSON say what each signal finds; otherwise, how to ask."""
    card = "signals: {lexicon: {patterns: [heron]}, repetition: {}}\n"
    folder = str(card_folder("bird", card, ["A heron.", "An egret."]))
    code, out, err = congener("traits", "show", folder)
    assert code == 0, err
    assert f"congener traits show {folder} --bank BANK" in out
    bank = f"{folder}-bank"
    code, _, err = congener("fit", "--traits", folder, "--output", bank)
    assert code == 0, err
    code, out, err = congener("traits", "show", folder, "--bank", bank)
    assert code == 0, err
    assert "measured on 2 positives that were held out from the fit" in out
    assert "congener fit" not in out
    lexicon, repetition, _ = congener_json("traits", "show", folder, "--bank", bank)["worth"][
        "signals"
    ]
    assert (lexicon["positives"], lexicon["positives_without"]) == (1, 0)
    assert (repetition["positives"], repetition["positives_without"]) == (0, 1)


def test_a_clean_text_is_shown_whole(congener, congener_json):
    """A clean text's name shows the whole text and what it is, and a bank has nothing about it."""
    name = "sycophantic-opening/84f995807ed2"
    code, out, err = congener("traits", "show", name)
    assert code == 0, err
    first, _, text = out.splitlines()
    assert first == (f"{name}: a hard negative of sycophantic-opening, clean text for other traits")
    assert text.startswith("Congratulations, graduates!")
    assert text.endswith("We're so proud of you.")
    found = congener_json("traits", "show", name)
    assert (found["name"], found["texts"]) == (name, [text])
    code, _, err = congener("traits", "show", name, "--bank", "bank")
    assert code == 2
    assert "leave --bank out, or name a trait" in err
