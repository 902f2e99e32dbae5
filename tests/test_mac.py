"""Keyed digests: what the standard library gives, whatever the key and the message."""

import hmac
import threading

from hypothesis import given
from hypothesis import strategies as st

from inhouse.mac import Mac


@given(key=st.binary(max_size=200), messages=st.lists(st.binary(max_size=300), max_size=5))
def test_it_is_hmac_sha256(key: bytes, messages: list[bytes]) -> None:
    mac = Mac(key)

    for message in messages:
        assert mac.digest(message) == hmac.digest(key, message, "sha256")
    assert mac.digest(*messages) == hmac.digest(key, b"".join(messages), "sha256")


def test_threads_do_not_disturb_each_other() -> None:
    mac = Mac(b"k" * 32)
    messages = [bytes([number]) * 70_000 for number in range(4)]  # long enough to leave the GIL
    expected = [hmac.digest(b"k" * 32, message, "sha256") for message in messages]
    right: list[int] = []

    def sign(number: int) -> None:
        right.append(sum(mac.digest(messages[number]) == expected[number] for _ in range(200)))

    threads = [threading.Thread(target=sign, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert right == [200] * 4


def test_it_tells_nothing_of_its_key() -> None:
    assert repr(Mac(b"secret")) == "Mac(***)"
