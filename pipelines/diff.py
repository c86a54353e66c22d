"""`congener diff`: which rows two finished runs treat differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from pipelines.rate_shifts import RateShifts, compare_rates
from pipelines.runs.changes import RULE_DEFAULTS, list_all_changes
from pipelines.runs.earlier_notes import PLACE as STORED
from pipelines.runs.earlier_notes import describe_earlier_notes, read_earlier_notes
from pipelines.runs.finished import MISFITS, report_damage
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import SIGNALLED, scan_ledger
from pipelines.runs.rates import sum_taken_out
from pipelines.runs.recorded_settings import read_recorded_policy
from schemas.digests import digest_config
from schemas.errors import RunError
from schemas.manifests import Manifest
from schemas.notices import choose_form, format_count, list_names
from schemas.policies import DECISIONS, EVERY_OTHER, PUBLISHED
from schemas.shares import format_percent

PLACE = ("source", "row")
"""The columns that identify a row of the same corpus."""

CONTENT = ("content_digest", "copy")
"""The columns that identify a row of another corpus: its content, and the how many-th copy."""

LOT = ("teacher", "prompt_source", "system_prompt")
"""The fields of the lots that are compared. Dates would make tiny groups."""

KINDS = (
    *("removed", "published", "masked text", "published text", "other action", "other traits"),
    *("other text", "only in the first", "only in the second"),
)
"""The kinds of changes, in the order in which they are shown.

`removed` rows are in the first run's clean corpus but not in the second's; `published` rows are the
other way round. `masked text` is masked in the second run only, and `published text` in the first
run only: a student learns it from the second. With another action, a row stays in the clean corpus
or stays out of it. With other traits, it has the same decision for other reasons. With another
text, both are the same.
"""

UNMASKED = ("keep", "flag")
"""The decisions after which a row's own text is trained on as a whole."""

AFTER = "_after"
"""The suffix of the second run's columns."""

BY_CARD = " (by its card)"
"""The suffix of an action that the policy doesn't give."""

NAMED = [False] * len(LOT)

MOST_LOTS = 1_000
"""How many lots are listed, those with most changed rows."""

EXAMPLES = 3
"""How many rows of each kind are shown by default."""

EXCEPTIONS_NAMED = 3
"""How many exceptions are named, if only one run has any."""


class Move(NamedTuple):
    """How many rows have one decision in the first run and another in the second.

    A decision is None if the run doesn't have the rows.
    """

    before: str | None
    after: str | None
    rows: int


class TraitChange(NamedTuple):
    """On how many rows of a trait the runs differ.

    `before` and `after` count the rows on which the trait fires. `lost` and `found` count the rows
    on which it fires in the first run only and in the second run only. `kinds` counts the changed
    rows on which it fires in either run, by kind. A finding that isn't in a trained text has the
    trait's name with `@` and the side.
    """

    trait: str
    before: int
    after: int
    lost: int
    found: int
    kinds: dict[str, int]


class LotChange(NamedTuple):
    """How many rows of a lot are changed, by kind; `rows` counts the lot's rows in both runs."""

    lot: dict[str, str]
    rows: int
    changed: int
    kinds: dict[str, int]


class ShownChange(NamedTuple):
    """A changed row: its place in the first run that has it, its decisions and its reasons."""

    kind: str
    source: str
    row: int
    before: str | None
    after: str | None
    reasons_before: list[dict[str, Any]]
    reasons_after: list[dict[str, Any]]


class RunComparison(NamedTuple):
    """Two runs, compared row by row.

    `settings` says in lines how the runs were made differently. `by_content` is true if the corpora
    differ, so that rows are the same if their content is; `shifts` then compares the rates.
    `taken_out` counts each run's rows that a person took out by an exception, for each trait.
    """

    settings: list[str]
    by_content: bool
    rows: int
    changed: int
    kinds: dict[str, int]
    moves: list[Move]
    traits: list[TraitChange]
    lots: list[LotChange]
    examples: list[ShownChange]
    shifts: RateShifts | None = None
    taken_out: tuple[int, int] = (0, 0)


def compare_runs(one: str, two: str, examples: int = EXAMPLES) -> RunComparison:
    """Compare two finished runs row by row.

    Rows of the same corpus are matched by their place, and rows of different corpora by their
    content. Scores alone don't make a row differ: its decision, its traits or its text do.

    Raises: RunError: a run isn't finished or is damaged, or the digests of the runs can't be
    compared.
    """
    manifests = load_manifest(one), load_manifest(two)
    first, second = manifests
    by_content = first.identity.inputs != second.identity.inputs
    if by_content and first.identity.digest_key != second.identity.digest_key:
        raise RunError(
            "has digests of another key, so its rows can't be found in the other run's corpus",
            where=two,
            remedy="compare runs on the same corpus, or filter both with the same --digest-key",
        )
    key = CONTENT if by_content else PLACE
    with report_damage(one, *MISFITS):
        same_key = first.identity.digest_key == second.identity.digest_key
        scans = _scan(one, first, key), _scan(two, second, key)
        rows = _join(scans, key, with_texts=same_key and not by_content)
        groups, shown = _collect(rows, examples)
        return RunComparison(
            [*list_differences(first, second), *_describe_notes(manifests)],
            by_content,
            int(groups["rows"].sum()),
            int(groups.filter(pl.col("kind").is_not_null())["rows"].sum()),
            _count_kinds(groups),
            _list_moves(groups),
            _list_traits(groups),
            _list_lots(groups),
            _describe_examples(shown, (one, two), manifests, by_content),
            compare_rates((one, two), manifests) if by_content else None,
            (sum_taken_out(one, first), sum_taken_out(two, second)),
        )


def list_differences(first: Manifest, second: Manifest) -> list[str]:
    """Return a line for each difference between the settings of two runs."""
    one, two = _describe(first), _describe(second)
    additions = list(_name_additions((first, second), one, two))
    same = list(_name_same_actions(one, two))
    return [*additions, *list_all_changes(one, two), *same]


def _name_same_actions(one: dict[str, Any], two: dict[str, Any]) -> Iterator[str]:
    """Name in one line the traits of which only one policy gives the card's action, as a rule."""
    before, after = (run["settings"]["policy"]["traits"] for run in (one, two))
    same = []
    for name in [name for name in before if name in after]:
        actions = [str(rules[name].get("action")) for rules in (before, after)]
        if actions[0] != actions[1] and len({item.removesuffix(BY_CARD) for item in actions}) == 1:
            after[name] = {**after[name], "action": before[name]["action"]}
            same.append(name)
    if one["settings"]["policy"] == two["settings"]["policy"]:
        two["identity"]["policy_digest"] = one["identity"]["policy_digest"]
    if same:
        which = choose_form(len(same), "its card gives it", "their cards give them")
        yield (
            f"{list_names(same, len(same))}: the action is the same; one policy names it, and in "
            f"the other run {which}"
        )


def _describe_notes(manifests: Sequence[Manifest]) -> Iterator[str]:
    for which, manifest in zip(("first", "second"), manifests, strict=True):
        yield from describe_earlier_notes(manifest, which)


def _leave_out_root(value: Any) -> Any:
    """Leave the digest of a parent's ledger out of a swap or a mix, whose parent is named."""
    if not isinstance(value, dict):
        return value
    return {name: item for name, item in value.items() if name != "parent_root"}


def _name_additions(
    manifests: tuple[Manifest, Manifest], one: dict[str, Any], two: dict[str, Any]
) -> Iterator[str]:
    """Yield the swap, the mix and the exceptions that only one run has, and take them out."""
    for digest, part, name, describe in ADDITIONS:
        settings = [run["settings"][part] or {} for run in (one, two)]
        values = [item.get(name) for item in settings]
        if bool(values[0]) == bool(values[1]):
            continue
        owner = int(bool(values[1]))
        yield f"only the {('first', 'second')[owner]} run has {describe(manifests[owner])}"
        for run, item in zip((one, two), settings, strict=True):
            run["settings"][part] = {key: item[key] for key in item if key != name}
        if one["settings"][part] == two["settings"][part]:
            two["identity"][digest] = one["identity"][digest]


def _describe_swap(manifest: Manifest) -> str:
    swap = manifest.config["swap"]
    near = "" if swap["near"] is None else f", also of prompts up to {swap['near']} away"
    spans = " of single sentences" if swap.get("spans") else ""
    if shares := swap.get("shares"):
        near += ", in the shares " + ", ".join(
            f"{name} {share:g}" for name, share in shares.items()
        )
    held = " or ".join(swap["replace"])
    return f"a swap{spans} with {_name_donors(swap)}, of rows with the action {held}{near}"


def _describe_mix(manifest: Manifest) -> str:
    mix = manifest.config["mix"]
    return f"a mix with {_name_donors(mix)}, share {format_percent(mix['share'])}"


def _name_donors(action: Mapping[str, Any]) -> str:
    names = [donor["name"] for donor in action["donors"]]
    return f"{choose_form(len(names), 'donor', 'donors')} {list_names(names)}"


def _describe_exceptions(manifest: Manifest) -> str:
    found = read_recorded_policy(manifest).exceptions
    named = [f"{item.describe()}: {item.action or item.threshold}" for item in found]
    where = "; its report lists all" if len(named) > EXCEPTIONS_NAMED else ""
    return f"{format_count(len(named), 'exception')} ({list_names(named, EXCEPTIONS_NAMED)}{where})"


ADDITIONS: tuple[tuple[str, str, str, Callable[[Manifest], str]], ...] = (
    ("config_digest", "config", "swap", _describe_swap),
    ("config_digest", "config", "mix", _describe_mix),
    ("policy_digest", "policy", "exceptions", _describe_exceptions),
)
"""Settings that are named as a whole if only one run has them, and the digests that they change."""


def _describe(manifest: Manifest) -> dict[str, Any]:
    cards = {name: digest_config(card)[:16] for name, card in manifest.cards.items()}
    config = {name: _leave_out_root(value) for name, value in manifest.config.items()}
    policy = {**manifest.policy, "traits": _complete_rules(manifest)}
    settings = {"config": config, "policy": policy, "traits": cards}
    return {"identity": manifest.identity.model_dump(mode="json"), "settings": settings}


def _complete_rules(manifest: Manifest) -> dict[str, Any]:
    """Return the policy's rule of every trait, with the card's action where the rule has none."""
    named = dict(manifest.policy.get("traits", {}))
    rules = dict.fromkeys(manifest.cards, named.pop(EVERY_OTHER, RULE_DEFAULTS)) | named
    return {
        name: rule | {"action": rule.get("action") or f"{card['action']}{BY_CARD}"}
        if (card := manifest.cards.get(name, {})).get("action")
        else rule
        for name, rule in rules.items()
    }


def _scan(run: str, manifest: Manifest, key: Sequence[str]) -> pl.LazyFrame:
    """Scan a run's ledger: the key, the lot, the decision, and the findings as one text.

    A mask or a flag that only an earlier run made counts as the decision. `marks` are the traits of
    all reasons, a person's among them, with those of such notes.
    """
    reason = pl.element().struct
    side = reason.field("signal").str.extract("(@.*)$").fill_null("")
    names = reason.field("trait") + side
    findings, marks = (
        reasons.list.eval(names).list.unique().list.sort().list.join(" ")
        for reasons in (SIGNALLED, pl.col("reasons"))
    )
    frame = scan_ledger(run, manifest).with_columns(
        copy=pl.int_range(pl.len()).over("content_digest") if "copy" in key else pl.lit(0),
        findings=findings,
        marks=marks,
    )
    wanted = dict.fromkeys((*PLACE, *CONTENT, *LOT, "decision", "findings", "marks"))
    return _add_notes(frame, read_earlier_notes(run, manifest)).select(*wanted)


def _add_notes(frame: pl.LazyFrame, notes: pl.DataFrame) -> pl.LazyFrame:
    """Add the masks, the flags and the traits of earlier runs to what a run decided."""
    if notes.is_empty():
        return frame
    is_own = ~pl.col("decision").is_in(UNMASKED) | pl.col("noted").is_null()
    both = pl.concat_str("marks", "by", separator=" ", ignore_nulls=True)
    marks = both.str.strip_chars().str.split(" ").list.unique().list.sort().list.join(" ")
    places = pl.col("output_row").cast(pl.Int64)
    return (
        frame.with_columns(places)
        .join(notes.lazy(), on=STORED, how="left", maintain_order="left")
        .with_columns(
            decision=pl.when(is_own).then("decision").otherwise("noted"),
            marks=marks,
        )
    )


def _join(
    scans: tuple[pl.LazyFrame, pl.LazyFrame], key: Sequence[str], with_texts: bool
) -> pl.LazyFrame:
    """Return every row of either run, with the kind of its change, or null without one."""
    one, two = scans
    joined = one.join(two, on=key, how="full", suffix=AFTER, coalesce=True)
    others = [name for name in (*PLACE, *LOT) if name not in key]
    placed = joined.with_columns(pl.coalesce(name, f"{name}{AFTER}") for name in others)
    return placed.with_columns(kind=_choose_kind(with_texts))


def _choose_kind(with_texts: bool) -> pl.Expr:
    before, after = pl.col("decision"), pl.col(f"decision{AFTER}")
    was, now = before.is_in(PUBLISHED), after.is_in(PUBLISHED)
    kind = (
        pl.when(after.is_null())
        .then(pl.lit("only in the first"))
        .when(before.is_null())
        .then(pl.lit("only in the second"))
        .when(was & ~now)
        .then(pl.lit("removed"))
        .when(now & ~was)
        .then(pl.lit("published"))
        .when(before.is_in(UNMASKED) & (after == "mask"))
        .then(pl.lit("masked text"))
        .when((before == "mask") & after.is_in(UNMASKED))
        .then(pl.lit("published text"))
        .when(before != after)
        .then(pl.lit("other action"))
        .when(pl.col("marks") != pl.col(f"marks{AFTER}"))
        .then(pl.lit("other traits"))
    )
    if with_texts:
        digest = pl.col("content_digest")
        kind = kind.when(digest != pl.col(f"content_digest{AFTER}")).then(pl.lit("other text"))
    return kind


def _collect(rows: pl.LazyFrame, examples: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return counts of equal rows, and the first rows of each kind of change.

    Every pair of decisions has a row before any pair of the same kind has a second one.
    """
    decisions = ("decision", f"decision{AFTER}")
    groups = rows.group_by("kind", *LOT, *decisions, "findings", f"findings{AFTER}").agg(
        rows=pl.len()
    )
    changed = rows.filter(pl.col("kind").is_not_null()).select("kind", *PLACE, *decisions)
    pairs = ("kind", *decisions)
    first = changed.sort(PLACE).group_by(pairs, maintain_order=True).head(examples or 1)
    counted, found = pl.collect_all([groups, first], engine="streaming")
    shown = _choose_examples(found.select("kind", *PLACE, *decisions), pairs, examples)
    return counted, shown if examples else shown.clear()


def _choose_examples(found: pl.DataFrame, pairs: Sequence[str], examples: int) -> pl.DataFrame:
    """Return some rows of each kind, in the order of the corpus; each pair of decisions has one."""
    turn = pl.int_range(pl.len()).over(pairs)
    turned = found.sort(PLACE).with_columns(turn=turn).sort("turn", *PLACE)
    number = pl.int_range(pl.len()).over("kind")
    chosen = turned.filter((number < examples) | (pl.col("turn") == 0)).drop("turn")
    return chosen.sort(pl.col("kind").cast(pl.Enum(KINDS)), *PLACE)


def _count_kinds(groups: pl.DataFrame) -> dict[str, int]:
    """Return how many rows each kind of change has, in the order of `KINDS`."""
    counts = dict(groups.group_by("kind").agg(pl.col("rows").sum()).iter_rows())
    return {kind: counts[kind] for kind in KINDS if kind in counts}


def _list_moves(groups: pl.DataFrame) -> list[Move]:
    """Return how many rows moved from which decision to which, without those that stayed."""
    summed = groups.group_by("decision", f"decision{AFTER}").agg(pl.col("rows").sum())
    moves = (Move(*row) for row in summed.iter_rows())
    return sorted((move for move in moves if move.before != move.after), key=_rank_move)


def _rank_move(move: Move) -> tuple[int, int]:
    order = (*DECISIONS, None)
    return order.index(move.before), order.index(move.after)


def _list_traits(groups: pl.DataFrame) -> list[TraitChange]:
    """Return the traits that fire in either run, those with most changed rows first."""
    before, after = (
        pl.col(name).fill_null("").str.split(" ").alias(name)
        for name in ("findings", f"findings{AFTER}")
    )
    lists = groups.select("kind", "rows", before, after)
    both = pl.concat_list("findings", f"findings{AFTER}").list.unique()
    single = lists.with_columns(trait=both).explode("trait").filter(pl.col("trait") != "")
    was, now = (
        pl.col(name).list.contains(pl.col("trait")) for name in ("findings", f"findings{AFTER}")
    )
    flagged = single.with_columns(was=was, now=now)
    found = [
        TraitChange(
            str(trait),
            _sum_rows(part, pl.col("was")),
            _sum_rows(part, pl.col("now")),
            _sum_rows(part, pl.col("was") & ~pl.col("now")),
            _sum_rows(part, pl.col("now") & ~pl.col("was")),
            _count_kinds(part),
        )
        for (trait,), part in flagged.group_by("trait")
    ]
    return sorted(found, key=lambda item: (-sum(item.kinds.values()), item.trait))


def _sum_rows(groups: pl.DataFrame, chosen: pl.Expr) -> int:
    return int(groups.filter(chosen)["rows"].sum())


def _list_lots(groups: pl.DataFrame) -> list[LotChange]:
    """Return the lots with changed rows, those with most of them first."""
    changed = pl.col("rows").filter(pl.col("kind").is_not_null()).sum()
    totals = groups.group_by(LOT).agg(pl.col("rows").sum(), changed=changed)
    chosen = totals.filter(pl.col("changed") > 0).sort("changed", *LOT, descending=[True, *NAMED])
    shown = chosen.head(MOST_LOTS)
    kinds = groups.join(shown.select(LOT), on=LOT, how="semi").group_by(*LOT, "kind")
    counts: dict[tuple[str, ...], dict[str, int]] = {}
    for *lot, kind, rows in kinds.agg(pl.col("rows").sum()).iter_rows():
        counts.setdefault(tuple(lot), {})[kind] = rows
    return [
        LotChange(
            dict(zip(LOT, lot, strict=True)),
            rows,
            number,
            {kind: counts[tuple(lot)][kind] for kind in KINDS if kind in counts[tuple(lot)]},
        )
        for *lot, rows, number in shown.iter_rows()
    ]


def _describe_examples(
    shown: pl.DataFrame, runs: Sequence[str], manifests: Sequence[Manifest], by_content: bool
) -> list[ShownChange]:
    """Return changed rows with the reasons that each run has for its decision."""
    reasons = [
        _read_reasons(run, manifest, shown) for run, manifest in zip(runs, manifests, strict=True)
    ]
    if by_content:  # the places of the second run's rows may be others
        reasons[1] = {}
    return [
        ShownChange(
            kind,
            source,
            row,
            before,
            after,
            *(found.get((source, row), []) for found in reasons),
        )
        for kind, source, row, before, after in shown.iter_rows()
    ]


def _read_reasons(
    run: str, manifest: Manifest, shown: pl.DataFrame
) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Return the reasons of some rows, by place."""
    keys = shown.select(PLACE).unique().lazy()
    rows = scan_ledger(run, manifest).join(keys, on=PLACE, how="semi").select(*PLACE, "reasons")
    return {
        (source, row): reasons
        for source, row, reasons in rows.collect(engine="streaming").iter_rows()
    }
