"""The proof that whoever answers is the server of a home."""

import pytest

from blueplane import proof
from blueplane.errors import HomeError
from blueplane.paths import Home

TOKEN = "ab" * 32


@pytest.mark.fault("G6")
def test_an_answer_proves_only_for_its_own_question_home_and_token(home: Home) -> None:
    """Another question, home or token has another answer."""
    # Given the token of a home
    home.token_file.write_text(TOKEN)
    asked = proof.make_challenge()
    # When / Then
    assert proof.proves(home, asked, proof.answer(TOKEN, home.home_id(), asked))
    assert not proof.proves(
        home, proof.make_challenge(), proof.answer(TOKEN, home.home_id(), asked)
    )
    assert not proof.proves(home, asked, proof.answer(TOKEN, "0" * 16, asked))
    assert not proof.proves(home, asked, proof.answer("cd" * 32, home.home_id(), asked))
    for nonsense in (None, "", 5, "é"):
        assert not proof.proves(home, asked, nonsense)


def test_a_missing_token_is_said_when_a_proof_is_wanted(home: Home) -> None:
    """Without a token nobody can prove anything: the message says what makes one."""
    with pytest.raises(HomeError, match="blueplane restart"):
        proof.proves(home, proof.make_challenge(), "")


def test_challenges_are_what_servers_take_when_they_are_made() -> None:
    """Each is another one, and of the form that is answered."""
    made = {proof.make_challenge() for _ in range(10)}
    assert len(made) == 10
    assert all(proof.CHALLENGE.fullmatch(each) for each in made)
