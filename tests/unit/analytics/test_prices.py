"""Prices: by name, by day, by the length of a prompt, and never by guess."""

import json
from datetime import date
from pathlib import Path

import pytest

from blueplane.analytics import prices
from blueplane.analytics.prices import load_prices, plain_name
from blueplane.days import day_of
from blueplane.price_text import PICO, Price, check_price

TODAY = day_of(date(2026, 11, 20))
TABLE = json.loads(Path(prices.__file__).with_name("prices.json").read_bytes())
OPUS_4_1 = Price(15 * PICO, 75 * PICO, 18_750_000, 30 * PICO, 1_500_000)


@pytest.mark.parametrize(
    "name",
    [
        "claude-opus-4-1",
        "claude-opus-4-1-20250805",
        "Claude-Opus-4.1",
        "claude-opus-4-1@20250805",
        "us.anthropic.claude-opus-4-1-20250805-v1:0",
        "anthropic/claude-opus-4.1",
        "claude-opus-4-1[1m]",
        "claude-4.1-opus-thinking-high",
    ],
)
def test_a_model_is_found_when_its_name_has_a_date_a_cloud_or_an_effort(name: str) -> None:
    """Who sells a model, and how hard it thinks, does not change the price of a token."""
    # Given / When / Then
    assert load_prices().price(name, TODAY, 0) == OPUS_4_1


@pytest.mark.parametrize(
    "name", ["claude-opus-99", "gpt-5-fast", "claude", "opus", "", "claude-opus-4-1-turbo", None]
)
def test_a_model_has_no_price_when_the_table_does_not_have_it(name: str | None) -> None:
    """A name that is only alike is priced by guess: it is not."""
    # Given / When / Then
    assert load_prices().price(name, TODAY, 0) is None


def test_a_price_is_that_of_the_day_when_it_changed() -> None:
    """A call of yesterday costs what it cost then."""
    # Given
    table = load_prices()
    changed = day_of(date(2026, 10, 7))
    # When
    found = [table.price("claude-sonnet-5-5", day, 0) for day in (changed - 1, changed)]
    # Then
    assert [each and each.cache_read for each in found] == [200_000, 100_000]
    assert changed in table.changes()


def test_a_price_is_that_of_the_prompt_when_long_ones_cost_more() -> None:
    """The band of a call says how many lengths its prompt exceeds."""
    # Given
    table = load_prices()
    # When
    haiku = [table.price("claude-haiku-5-5", TODAY, band) for band in range(3)]
    sonnet = [table.price("claude-sonnet-4-5", TODAY, band) for band in range(3)]
    # Then
    assert [each and each.output for each in haiku] == [500_000, 2_500_000, 2_500_000]
    assert [each and each.input for each in sonnet] == [3 * PICO, 3 * PICO, 6 * PICO]


def test_a_line_of_the_configuration_holds_when_its_day_has_come() -> None:
    """It stands in place of what is bundled, from its day on; before, that holds."""
    # Given
    table = load_prices(
        ["claude-opus-4.1 input=1 output=2 from=2026-06-01", "mine input=0.5 output=4"]
    )
    # When
    before = table.price("claude-opus-4-1-20250805", day_of(date(2026, 5, 31)), 0)
    after = table.price("claude-opus-4-1-20250805", day_of(date(2026, 6, 1)), 2)
    # Then
    assert before == OPUS_4_1
    assert after == Price(PICO, 2 * PICO, PICO, PICO, PICO)
    assert table.price("mine", 0, 0) == Price(500_000, 4 * PICO, 500_000, 500_000, 500_000)


@pytest.mark.parametrize(
    "line",
    [
        "", "  ", "mine", "mine input=1", "mine output=1", "mine input=1 output=2 cache=3",
        "mine input=1 output=-2", "mine input=1e9 output=2", "mine input=1,5 output=2",
        "mine input=1 output=nan", "mine input=1 output=2 from=yesterday",
        "mine input=1 output=2 output=3", "input=1 output=2", "m\u00a7 input=1 output=2",
        "mine input=100001 output=1",
    ],
)  # fmt: skip
def test_a_line_is_refused_when_it_is_no_price(line: str) -> None:
    """What is wrong is said in one line, with how it is written."""
    # Given / When
    problem = check_price(line)
    # Then
    assert problem
    assert "\n" not in problem


def test_the_bundled_table_is_whole_when_it_is_read() -> None:
    """Each model once however it is written, dates in order, no price below what cache costs."""
    # Given
    models = TABLE["usd_per_million_tokens"]
    # When
    names = [plain_name(model) for model in models]
    # Then
    assert len(set(names)) == len(models)
    assert date.fromisoformat(TABLE["as_of"])
    assert set(TABLE["same"].values()) <= models.keys()
    for entries in models.values():
        starts = [entry.get("from", "") for entry in entries]
        assert starts == sorted(set(starts))
        for entry in entries:
            for row in [entry["price"], *entry.get("above", {}).values()]:
                assert row is None or len(row) == len(TABLE["kinds"])
                assert row is None or row[4] <= row[0] <= row[2] <= row[3]


@pytest.mark.parametrize(
    "model", [name for name in TABLE["usd_per_million_tokens"] if "claude" in name]
)
def test_the_cache_of_claude_costs_its_share_when_it_is_written(model: str) -> None:
    """A quarter more than input for five minutes, twice as much for an hour; one had less."""
    # Given
    table = load_prices()
    # When
    price = table.price(model, TODAY, 0)
    # Then
    assert price is not None
    if model != "claude-3-haiku":
        assert price.cache_creation_5m * 4 == price.input * 5
        assert price.cache_creation_1h == price.input * 2
