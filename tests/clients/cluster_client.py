"""redis-py's cluster client against a running cluster: python3 cluster_client.py PORT"""

import sys

from redis.cluster import LoadBalancingStrategy, RedisCluster
from redis.exceptions import ResponseError

KEYS = 2_000


def check(client):
    keys = [f"py:{client.tag}:{number}" for number in range(KEYS)]
    pipeline = client.pipeline()
    for key in keys:
        pipeline.set(key, f"of {key}")
    assert all(pipeline.execute()), "every SET is acknowledged"
    for key in keys[:50]:
        assert client.get(key) == f"of {key}".encode(), key
    found = client.mget_nonatomic(keys)
    assert found == [f"of {key}".encode() for key in keys]

    counter = f"py:{client.tag}:counter"
    assert client.incr(counter) == 1
    assert client.incrby(counter, 41) == 42
    assert client.decr(counter) == 41
    assert client.append(counter, "0") == 3
    assert client.strlen(counter) == 3
    assert client.getdel(counter) == b"410"
    assert client.exists(counter) == 0
    assert client.set(counter, "a", nx=True) is True
    assert client.set(counter, "b", nx=True) is None
    assert client.set(counter, "c", xx=True, get=True) == b"a"
    try:
        client.incr(counter)
        raise AssertionError("INCR of text must fail")
    except ResponseError as error:
        assert "not an integer" in str(error), error
    assert client.delete(counter) == 1

    scanned = {key.decode() for key in client.scan_iter(match=f"py:{client.tag}:*", count=100)}
    assert scanned == set(keys), f"SCAN found {len(scanned)} of {len(keys)} keys"
    assert client.dbsize(target_nodes=RedisCluster.PRIMARIES) >= KEYS
    tagged = {f"{{tag}}{client.tag}{number}": str(number) for number in range(10)}
    assert client.mset(tagged), "keys of one slot"
    assert client.mget(list(tagged)) == [value.encode() for value in tagged.values()]
    assert client.delete(*tagged) == 10
    assert client.delete(*keys) == KEYS
    info = client.cluster_info(target_nodes=client.get_random_node())
    assert info["cluster_state"] == "ok", info


def main():
    port = int(sys.argv[1])
    for protocol in (2, 3):
        client = RedisCluster(host="127.0.0.1", port=port, protocol=protocol)
        client.tag = f"resp{protocol}"
        check(client)
        client.close()
        print(f"redis-py over RESP{protocol}: ok")
    strategy = LoadBalancingStrategy.ROUND_ROBIN_REPLICAS
    replicas = RedisCluster(host="127.0.0.1", port=port, load_balancing_strategy=strategy)
    replicas.set("from-replica", "x")
    # A follower may be a moment behind; it must answer, and never with another value.
    values = {replicas.get("from-replica") for _ in range(20)}
    assert values <= {b"x", None}, values
    replicas.close()
    print("redis-py reading from replicas: ok")


if __name__ == "__main__":
    main()
