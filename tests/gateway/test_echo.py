"""The echo of a completion is measured: what begins with the prompt, however it is cut; and nothing else."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from farebox.gateway.echo import Echo, echoed_bytes

# Few signs, of one to four bytes, so that texts often begin alike.
TEXT = st.text(st.sampled_from("aé你\U0001f600"), max_size=6)


def cut(text: str, places: list[int]) -> list[str]:
    at = sorted({0, len(text), *(place for place in places if place < len(text))})
    return [text[a:b] for a, b in zip(at, at[1:], strict=False)]


@settings(deadline=None)
@given(TEXT, TEXT, st.lists(st.integers(0, 12)), st.booleans())
@example("ab", "abc", [1], True)
@example("ab", "a", [], True)
@example("ab", "ac", [1], False)
def test_any_cut_measures_what_the_whole_says(prompt, text, places, goes_on):
    text = prompt + text if goes_on else text
    echo, took = Echo([prompt], 1), 0
    so_far = ""
    for piece in cut(text, places):
        took += echo.feed(0, piece)
        so_far += piece
        # Under way it is the beginning that both have, as long as none of them goes on in another way.
        alike = so_far.startswith(prompt) or prompt.startswith(so_far)
        shared = min(so_far, prompt, key=len) if alike else ""
        assert (echo.echoed(0), took, echo.total_bytes) == (shared, len(shared.encode()), len(shared.encode()))
    took += echo.end(0)
    assert took == echo.total_bytes == echoed_bytes(prompt, text)
    assert echo.echoed(0) == (prompt if text.startswith(prompt) else "")
    assert echo.feed(0, "a") == 0 or not text  # what follows an end is no echo


def test_each_prompt_has_its_choices_and_each_choice_its_echo():
    prompts = ["one", "two", "", "drei"]
    echo = Echo(prompts, 2)
    said = ["one!", "two", "two", "tw", "x", "", "drei", "dr\u00e9i", "one"]
    for at in range(max(map(len, said))):  # all choices sign by sign, one after the other
        for index, text in enumerate(said):
            echo.feed(index, text[at : at + 1])
    assert [echo.echoed(index) for index in range(9)] == ["one", "", "two", "tw", "", "", "drei", "", ""]
    assert echo.total_bytes == len("one" + "two" + "tw" + "drei")
    for index in range(9):
        echo.end(index)
    assert [echo.echoed(index) for index in range(9)] == ["one", "", "two", "", "", "", "drei", "", ""]
    assert echo.total_bytes == len("one" + "two" + "drei")
