"""Addresses and keys of a model's server are checked before anything is sent; its words reach a terminal harmless."""

import pytest

from modeling_clue.servers import check_address, read_key, shortened, without_key


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000/v1", "https://[::1]:8/v1/", "http://bücher.example/v1", "http://vllm_0/v1"]
)
def test_an_address_is_taken(address):
    """By name or by number, with a port or without."""
    check_address(address, "SOME_KEY")


NOWHERE = (
    "|127.0.0.1:8000|localhost:8000/v1|ftp://host/v1|http://|https:///v1|http://[::1/v1|http://host:port/v1".split("|")
)
NOWHERE += ["http://host:99999/v1", "http://a..b/v1", f"http://{'a' * 70}/v1", "http://host/v1\n", " http://host/v1"]
SECRET = (
    "http://user:word@host/v1 http://user@host/v1 http://:word@host/v1 http://host/v1?key=word http://host/v1?".split()
)


@pytest.mark.parametrize(
    ("addresses", "complaint"),
    [
        (NOWHERE, "is no address of a server: one looks like http://127.0.0.1:8000/v1"),
        ([*SECRET, "http://host/v1#word"], r"must hold no key or password: put it into \$SOME_KEY"),
    ],
)
def test_what_no_request_can_be_sent_to_is_told(addresses, complaint):
    """What a client fails on with an error of its own kind, and what it would quietly leave out or send on."""
    for address in addresses:
        with pytest.raises(ValueError, match=complaint) as error:
            check_address(address, "SOME_KEY")
        assert "word@" not in str(error.value) and "=word" not in str(error.value) and str(error.value).isprintable()


def test_a_key_is_what_a_header_can_hold(monkeypatch):
    """Spaces around it come of reading it from a file; without a variable there is none."""
    monkeypatch.setenv("SOME_KEY", " sk-test \n")
    assert read_key("SOME_KEY") == "sk-test"
    monkeypatch.delenv("SOME_KEY")
    assert read_key("SOME_KEY") == ""
    for key in ("a\nb", "schlüssel", "a\x00b"):
        monkeypatch.setattr("os.environ", {"SOME_KEY": key})
        with pytest.raises(ValueError, match=r"\$SOME_KEY holds characters that no key has"):
            read_key("SOME_KEY")


def test_words_of_a_server():
    """The key it quotes is taken out, where it is one and no placeholder; a line remains, of what can be printed."""
    assert without_key("wrong key sk-12345: sk-12345", "sk-12345") == "wrong key [key]: [key]"
    assert without_key("the EMPTY set", "EMPTY") == "the EMPTY set" == without_key("the EMPTY set", "")
    assert shortened("a\n\n b\x1b[2J\u202e") == "a b\ufffd[2J\ufffd"
    assert shortened("x" * 201) == "x" * 200 + "..." and shortened("x" * 200) == "x" * 200
    assert shortened("x" * 301, 300) == "x" * 300 + "..."
