"""What a store keeps: count, age, memory, and the life of a channel."""

from __future__ import annotations

import pytest

from .client import wait_until
from .conftest import StartRelay
from .daemon import Config, Daemon, config

A_QUARTER = 16 * 1024  # of the 64 KiB of memory that tests here give a store


def store(**keys: object) -> Config:
    return {"type": "memory", **keys}


def two_stores(first: Config, second: Config) -> Config:
    """A configuration with a store behind /pub/ and /sub/ and another behind /pub2/ and /sub2/."""
    return config(
        store={"one": {"type": "memory", **first}, "two": {"type": "memory", **second}},
        publisher={"store": "one"},
        subscriber={"store": "one"},
        more=[
            {"type": "publisher", "prefix": "/pub2/", "store": "two"},
            {"type": "subscriber", "prefix": "/sub2/", "store": "two", "create_on_get": True},
        ],
    )


# Count and age


def test_nothing_is_dropped_by_default(relay: Daemon) -> None:
    bodies = [b"%d" % n for n in range(300)]
    relay.publish("c", *bodies)
    assert relay.stored("c") == 300
    assert relay.get("c").body == b"0"


def test_max_messages_keeps_the_newest_per_channel(start_relay: StartRelay) -> None:
    relay = start_relay(config(store=store(max_messages=3)))
    for n in range(10):
        relay.publish("c", b"%d" % n)
        relay.publish("d", b"%d" % n)
    assert relay.stored("c") == relay.stored("d") == 3
    assert relay.get("c").body == b"7"


def test_message_timeout_drops_what_is_over_age(start_relay: StartRelay) -> None:
    relay = start_relay(config(store=store(message_timeout=0.4)))
    relay.publish("c", b"old")
    assert relay.stored("c") == 1
    wait_until(lambda: relay.stored("c") == 0, what="expiry")
    relay.publish("c", b"young")
    assert relay.get("c").body == b"young"


def test_min_messages_are_kept_over_age(start_relay: StartRelay) -> None:
    relay = start_relay(
        two_stores({"message_timeout": 0.3, "min_messages": 2}, {"message_timeout": 0.3})
    )
    relay.publish("c", b"1", b"2", b"3", b"4")
    wait_until(lambda: relay.stored("c") == 2, what="expiry down to two")
    # Messages that came later and are gone by age prove that time went on.
    relay.post("c", b"later", prefix="/pub2/")
    wait_until(lambda: relay.info("c", prefix="/pub2/")["messages"] == 0, what="expiry")
    assert relay.stored("c") == 2
    assert relay.get("c").body == b"3"


def test_max_messages_goes_before_min_messages_of_an_age(start_relay: StartRelay) -> None:
    """A message goes when it is over the count, however young."""
    relay = start_relay(config(store=store(max_messages=3, min_messages=2, message_timeout=60)))
    relay.publish("c", b"1", b"2", b"3", b"4")
    assert relay.stored("c") == 3


# Memory


def test_max_memory_makes_room_by_the_oldest_of_the_whole_store(start_relay: StartRelay) -> None:
    relay = start_relay(config(store=store(max_memory="64K")))
    body = b"x" * 4000
    relay.publish("old", *[body] * 8)
    assert relay.stored("old") == 8
    for n in range(100):
        relay.publish("new", b"%d " % n + body)
        assert 8 <= relay.stored("old") + relay.stored("new") <= 16
    assert relay.stored("old") == 0
    assert relay.get("new").status == 200
    newest = relay.info("new")["last_message_id"]
    assert relay.post("new", body).status == 202
    assert relay.info("new")["last_message_id"] != newest


def test_max_memory_goes_before_min_messages(start_relay: StartRelay) -> None:
    relay = start_relay(
        config(store=store(max_memory="64K", min_messages=1000, message_timeout=3600))
    )
    relay.publish("c", *[b"x" * 4000] * 30)
    assert relay.stored("c") <= 16


def test_a_message_too_large_for_the_store_is_413_and_drops_nothing(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(store=store(max_memory="64K")))
    relay.publish("c", b"kept")
    held = relay.hold("c", relay.get("c").position)
    assert relay.post("c", b"x" * 70_000).status == 413
    assert relay.get("c").body == b"kept"
    assert not held.has_answer()


def test_no_room_at_all_is_507_for_publishers_and_no_error_for_subscribers(
    start_relay: StartRelay,
) -> None:
    """Channels count too: enough of them, and there is no message left to drop."""
    relay = start_relay(config(store=store(max_memory="64K"), subscriber={"timeout": 0.5}))
    long_id = "x" * 200
    status, made = 200, 0
    while status == 200 and made < 2000:
        status = relay.put(f"{long_id}{made}").status
        made += status == 200
    assert status == 507
    assert made > 10
    assert relay.post("c" * 200, b"x" * 1000).status == 507
    assert relay.post(f"{long_id}0", b"x" * 10_000).status == 507
    # A subscriber is held, there and on a channel that is not there yet.
    assert relay.get(f"{long_id}0").status == 304
    assert relay.get("d" * 200).status == 304
    # And room that is made again is used again.
    for n in range(10):
        assert relay.delete(f"{long_id}{n}").status == 200
    assert relay.put("c" * 200).status == 200
    assert relay.post("c" * 200, b"x" * 100).status == 202


def test_messages_make_room_for_channels(start_relay: StartRelay) -> None:
    relay = start_relay(config(store=store(max_memory="64K")))
    relay.publish("c", *[b"x" * 4000] * 30)
    kept = relay.stored("c")
    for n in range(100):
        assert relay.put(f"{'x' * 200}{n}").status == 200
    assert relay.stored("c") < kept


def test_what_max_memory_dropped_is_told_as_a_gap(start_relay: StartRelay) -> None:
    relay = start_relay(config(store=store(max_memory="64K")))
    first, *_ = relay.publish("c", *[b"%d " % n + b"x" * 4000 for n in range(30)])
    answer = relay.get("c", first)
    assert answer.status == 200
    assert answer.header("X-Push-Gap") == "1"
    assert not answer.body.startswith(b"1 ")


def test_deleted_channels_and_expired_messages_give_their_memory_back(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(store=store(max_memory="64K")))
    for n in range(20):
        assert relay.post(f"channel {n}", b"x" * 40_000).status == 202
        assert relay.delete(f"channel {n}").status == 200
    assert relay.post("c", b"x" * 40_000).status == 202
    assert relay.stored("c") == 1


# The life of a channel


def test_a_channel_made_by_post_goes_when_it_is_idle_for_channel_timeout(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(config(store=store(channel_timeout=0.4, message_timeout=0.2)))
    relay.publish("c", b"m")
    assert relay.info("c") is not None
    wait_until(lambda: relay.info("c") is None, what="the channel to go")


def test_a_channel_stays_while_it_has_a_message(start_relay: StartRelay) -> None:
    foregone = {"type": "publisher", "prefix": "/forego/", "store_messages": False}
    relay = start_relay(config(store=store(channel_timeout=0.3), more=[foregone]))
    relay.publish("c", b"m")
    relay.post("idle", b"m", prefix="/forego/")
    wait_until(lambda: relay.info("idle") is None, what="the idle channel to go")
    assert relay.stored("c") == 1


def test_a_channel_stays_while_it_has_a_waiter(start_relay: StartRelay) -> None:
    foregone = {"type": "publisher", "prefix": "/forego/", "store_messages": False}
    relay = start_relay(config(store=store(channel_timeout=0.3), more=[foregone]))
    relay.post("c", b"m", prefix="/forego/")
    poll = relay.hold("c")
    relay.post("idle", b"m", prefix="/forego/")
    wait_until(lambda: relay.info("idle") is None, what="the idle channel to go")
    assert relay.held("c") == 1
    assert relay.post("c", b"m").status == 201
    assert poll.response().body == b"m"


def test_a_channel_made_by_put_stays_until_delete(start_relay: StartRelay) -> None:
    relay = start_relay(config(store=store(channel_timeout=0.3, message_timeout=0.1)))
    relay.put("put")
    relay.put("put and used")
    relay.publish("put and used", b"m")
    relay.publish("posted", b"m")
    wait_until(lambda: relay.info("posted") is None, what="the idle channel to go")
    assert relay.info("put") is not None
    assert relay.info("put and used") is not None
    relay.delete("put")
    assert relay.info("put") is None


def test_a_posted_channel_stays_when_it_is_put_later(start_relay: StartRelay) -> None:
    relay = start_relay(config(store=store(channel_timeout=0.4, message_timeout=0.1)))
    relay.publish("c", b"m")
    relay.put("c")
    relay.publish("d", b"m")
    wait_until(lambda: relay.info("d") is None, what="the idle channel to go")
    assert relay.info("c") is not None


def test_channel_timeout_0_means_never(start_relay: StartRelay) -> None:
    relay = start_relay(
        two_stores(
            {"channel_timeout": 0, "message_timeout": 0.1},
            {"channel_timeout": 0.3, "message_timeout": 0.1},
        )
    )
    relay.publish("c", b"m")
    relay.post("c", b"m", prefix="/pub2/")
    wait_until(lambda: relay.info("c", prefix="/pub2/") is None, what="the other channel to go")
    assert relay.info("c") is not None


def test_a_gap_is_told_when_the_channel_has_been_forgotten(start_relay: StartRelay) -> None:
    relay = start_relay(config(store=store(channel_timeout=0.3, message_timeout=0.1)))
    one, _ = relay.publish("c", b"1", b"2")
    wait_until(lambda: relay.info("c") is None, what="the channel to go")
    poll = relay.hold("c", one)
    relay.publish("c", b"3")
    answer = poll.response()
    assert (answer.body, answer.header("X-Push-Gap")) == (b"3", "1")


# Several stores


def test_stores_by_name_do_not_share_channels(start_relay: StartRelay) -> None:
    relay = start_relay(two_stores({}, {}))
    relay.publish("c", b"in one")
    assert relay.info("c", prefix="/pub2/") is None
    relay.post("c", b"in two", prefix="/pub2/")
    assert relay.get("c").body == b"in one"
    assert relay.get("c", prefix="/sub2/").body == b"in two"
    poll = relay.hold("d")
    assert relay.post("d", b"elsewhere", prefix="/pub2/").status == 202
    assert not poll.has_answer()


def test_stores_by_name_have_bounds_of_their_own(start_relay: StartRelay) -> None:
    relay = start_relay(two_stores({"max_messages": 1}, {"max_messages": 3}))
    for n in range(5):
        relay.publish("c", b"%d" % n)
        relay.post("c", b"%d" % n, prefix="/pub2/")
    assert relay.stored("c") == 1
    assert relay.info("c", prefix="/pub2/")["messages"] == 3


def test_locations_without_store_use_the_one_called_default(start_relay: StartRelay) -> None:
    relay = start_relay(
        config(
            store={
                "default": {"type": "memory", "max_messages": 1},
                "other": {"type": "memory"},
            },
            more=[{"type": "publisher", "prefix": "/other/", "store": "other"}],
        )
    )
    relay.publish("c", b"1", b"2")
    assert relay.stored("c") == 1
    for _ in range(2):
        relay.post("c", b"m", prefix="/other/")
    assert relay.info("c", prefix="/other/")["messages"] == 2


@pytest.mark.parametrize("size", [1, 1000, A_QUARTER])
def test_messages_of_any_size_go_through_a_small_store(start_relay: StartRelay, size: int) -> None:
    relay = start_relay(config(store=store(max_memory="64K")))
    before = None
    for n in range(50):
        body = b"%d " % n + b"x" * size
        (position,) = relay.publish("c", body)
        answer = relay.get("c", before)
        assert (answer.body, answer.position) == (body, position)
        assert answer.header("X-Push-Gap") is None
        before = position
