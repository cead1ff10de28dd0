"""What Redis has and this store has not: each is refused with what to use instead."""

from __future__ import annotations

from functools import partial

from serve_app.redis import replies
from serve_app.redis.command import Arguments, Command, Handled
from serve_app.redis.session import Session

_STRINGS = "all values are strings here: keep a structure as JSON in one value, or its parts under keys with one prefix"
_ATOMIC = (
    "nothing holds several keys together here: use INCR, SET NX or GETSET on one key, or conditions over HTTP (/v1)"
)
_SCRIPTS = "scripts are not run here: a read-modify-write is a loop over HTTP's conditions (If-Match, docs/recipes.md)"
_CHANNELS = "there are no channels here: follow what changes with /v1/watch, over HTTP"
_RENAME = (
    "a key's home goes by its name, so a rename would be of two keys, and not atomic: SET the new one, then DEL the old"
)
#: By why: the commands that are refused for it.
_REFUSED = {
    _STRINGS: "bitcount "
    "bitfield bitfield_ro bitop bitpos blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin geoadd "
    "geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore "
    "getbit hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx "
    "hstrlen hvals lindex linsert llen lmove lmpop lpop lpos lpush lpushx lrange lrem lset ltrim pfadd pfcount "
    "pfdebug pfmerge pfselftest rpop rpoplpush rpush rpushx sadd scard sdiff sdiffstore setbit sinter sintercard "
    "sinterstore sismember smembers smismember smove sort sort_ro spop srandmember srem sscan sunion sunionstore "
    "xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xsetid xtrim zadd "
    "zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin "
    "zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank "
    "zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore",
    _ATOMIC: "multi exec discard watch unwatch msetnx lcs",
    _SCRIPTS: "eval evalsha eval_ro evalsha_ro script fcall fcall_ro function",
    _CHANNELS: "subscribe unsubscribe psubscribe punsubscribe publish ssubscribe sunsubscribe spublish pubsub monitor",
    _RENAME: "rename renamenx copy",
    "a store has one database, 0: use prefixes": "move swapdb",
    "what is acknowledged is on disk already": "save bgsave bgrewriteaof lastsave wait waitaof",
    "use `python -m serve_app export`, or /v1/export": "dump restore restore-asking migrate",
    "the store is looked after by its own commands (docs/operations.md)": "shutdown replicaof slaveof cluster acl failover "
    "latency memory slowlog module asking readonly readwrite debug lolwut psync replconf role sync sentinel object",
}


def _refuse(reply: bytes, session: Session, words: Arguments) -> Handled:
    return reply


COMMANDS = tuple(
    Command(name, -1, partial(_refuse, replies.error(f"ERR '{name}' is not supported: {why}")), ("noscript",))
    for why, names in _REFUSED.items()
    for name in names.split()
)
REFUSED = frozenset(command.name for command in COMMANDS)
