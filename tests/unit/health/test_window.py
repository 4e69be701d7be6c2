from blueplane.health.window import Window


def kept(window: Window[int]) -> list[tuple[float, int]]:
    """Return what is kept."""
    return [tuple(each) for each in window]


def fill(window: Window[int], *counts: int, every_s: float = 1.0) -> Window[int]:
    """Show a counter to a window, in equal distances from moment 0 on."""
    for number, count in enumerate(counts):
        window.add(number * every_s, count)
    return window


def test_window_keeps_what_it_needs_to_be_whole_when_time_goes_on() -> None:
    """All of the last seconds is kept and the last thing before them, so that no rate is short."""
    # Given a window of ten seconds / When it is looked at every four
    window = fill(Window(10.0, int), 0, 40, 80, 120, 160, every_s=4.0)
    # Then
    assert kept(window) == [(4.0, 40), (8.0, 80), (12.0, 120), (16.0, 160)]
    assert (window.seconds, window.growth, window.per_s) == (12.0, 120, 10.0)


def test_window_is_whole_only_when_it_reaches_back_all_its_length() -> None:
    """Until then there is a rate, but of a shorter time."""
    # Given / When
    windows = [fill(Window(3.0, int), *range(count)) for count in (1, 3, 4, 9)]
    # Then
    assert [window.whole for window in windows] == [False, False, True, True]
    assert [window.seconds for window in windows] == [0.0, 2.0, 3.0, 3.0]


def test_window_begins_anew_when_its_counter_does() -> None:
    """A counter that fell is another one: between the two nothing grew."""
    # Given / When
    window = fill(Window(10.0, int), 100, 200, 3, 7)
    # Then
    assert kept(window) == [(2.0, 3), (3.0, 7)]
    assert (window.growth, window.whole) == (4, False)


def test_window_keeps_a_sample_now_and_then_when_that_is_enough() -> None:
    """What comes too soon is left out, unless it begins anew."""
    # Given / When
    window = fill(Window(60.0, int, every_s=2.0), 5, 6, 7, 8, 1)
    # Then
    assert kept(window) == [(4.0, 1)]
    assert kept(fill(Window(60.0, int, every_s=2.0), 5, 6, 7, 8)) == [(0.0, 5), (2.0, 7)]


def test_before_is_what_was_known_then_when_a_moment_is_asked_for() -> None:
    """It is what was seen last by then; the oldest there is when that is later."""
    # Given
    window = fill(Window(10.0, int), *range(30))
    # When / Then
    assert [tuple(window.before(at_s)) for at_s in (22.5, 22.0, 3.0)] == [
        (22.0, 22), (22.0, 22), (19.0, 19),
    ]  # fmt: skip
