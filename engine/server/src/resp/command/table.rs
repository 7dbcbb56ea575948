//! The commands themselves, with what Redis 7 says of them: flags, keys, categories and tips are its own, because
//! clients route and retry by them.

use super::{Cluster, Connection, Handler, Keys, Server, Spec};

/// Sorted by name.
pub(in crate::resp) const TABLE: &[Spec] = &[
    Spec::new("append", Handler::Keys(Keys::Append), 3)
        .about("string", "2.0.0", "Append a value to a key")
        .flags(&["write", "denyoom", "fast"])
        .keys([1, 1, 1], &["RW", "insert"])
        .categories(&["@write", "@string", "@fast"]),
    Spec::new("asking", Handler::Connection(Connection::Asking), 1)
        .about("cluster", "3.0.0", "Sent by cluster clients after an -ASK redirect")
        .flags(&["fast"])
        .categories(&["@fast", "@connection"]),
    Spec::new("auth", Handler::Connection(Connection::Auth), -2)
        .about("connection", "1.0.0", "Authenticate to the server")
        .flags(&["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"])
        .categories(&["@fast", "@connection"]),
    Spec::new("client", Handler::Container, -2)
        .about("connection", "2.4.0", "A container for client connection commands")
        .categories(&["@slow"])
        .subcommands(CLIENT),
    Spec::new("cluster", Handler::Container, -2)
        .about("cluster", "3.0.0", "A container for cluster commands")
        .categories(&["@slow"])
        .subcommands(CLUSTER),
    Spec::new("command", Handler::Server(Server::Command), -1)
        .about("server", "2.8.13", "Get array of Redis command details")
        .flags(&["loading", "stale"])
        .categories(&["@slow", "@connection"])
        .tips(&["nondeterministic_output_order"])
        .subcommands(COMMAND),
    Spec::new("config", Handler::Container, -2)
        .about("server", "2.0.0", "A container for server configuration commands")
        .categories(&["@slow"])
        .subcommands(CONFIG),
    Spec::new("dbsize", Handler::Keys(Keys::Dbsize), 1)
        .about("server", "1.0.0", "Return the number of keys in the selected database")
        .flags(&["readonly", "fast"])
        .categories(&["@keyspace", "@read", "@fast"])
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    Spec::new("decr", Handler::Keys(Keys::Decr), 2)
        .about("string", "1.0.0", "Decrement the integer value of a key by one")
        .flags(&["write", "denyoom", "fast"])
        .keys([1, 1, 1], &["RW", "access", "update"])
        .categories(&["@write", "@string", "@fast"]),
    Spec::new("decrby", Handler::Keys(Keys::Decrby), 3)
        .about("string", "1.0.0", "Decrement the integer value of a key by the given number")
        .flags(&["write", "denyoom", "fast"])
        .keys([1, 1, 1], &["RW", "access", "update"])
        .categories(&["@write", "@string", "@fast"]),
    Spec::new("del", Handler::Keys(Keys::Del), -2)
        .about("generic", "1.0.0", "Delete a key")
        .flags(&["write"])
        .keys([1, -1, 1], &["RM", "delete"])
        .categories(&["@keyspace", "@write", "@slow"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    Spec::new("echo", Handler::Connection(Connection::Echo), 2)
        .about("connection", "1.0.0", "Echo the given string")
        .flags(&["loading", "stale", "fast"])
        .categories(&["@fast", "@connection"]),
    Spec::new("exists", Handler::Keys(Keys::Exists), -2)
        .about("generic", "1.0.0", "Determine if a key exists")
        .flags(&["readonly", "fast"])
        .keys([1, -1, 1], &["RO"])
        .categories(&["@keyspace", "@read", "@fast"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    Spec::new("get", Handler::Keys(Keys::Get), 2)
        .about("string", "1.0.0", "Get the value of a key")
        .flags(&["readonly", "fast"])
        .keys([1, 1, 1], &["RO", "access"])
        .categories(&["@read", "@string", "@fast"]),
    Spec::new("getdel", Handler::Keys(Keys::Getdel), 2)
        .about("string", "6.2.0", "Get the value of a key and delete the key")
        .flags(&["write", "fast"])
        .keys([1, 1, 1], &["RW", "access", "delete"])
        .categories(&["@write", "@string", "@fast"]),
    Spec::new("getset", Handler::Keys(Keys::Getset), 3)
        .about("string", "1.0.0", "Set the string value of a key and return its old value")
        .flags(&["write", "denyoom", "fast"])
        .keys([1, 1, 1], &["RW", "access", "update"])
        .categories(&["@write", "@string", "@fast"]),
    Spec::new("hello", Handler::Connection(Connection::Hello), -1)
        .about("connection", "6.0.0", "Handshake with Redis")
        .flags(&["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"])
        .categories(&["@fast", "@connection"]),
    Spec::new("incr", Handler::Keys(Keys::Incr), 2)
        .about("string", "1.0.0", "Increment the integer value of a key by one")
        .flags(&["write", "denyoom", "fast"])
        .keys([1, 1, 1], &["RW", "access", "update"])
        .categories(&["@write", "@string", "@fast"]),
    Spec::new("incrby", Handler::Keys(Keys::Incrby), 3)
        .about("string", "1.0.0", "Increment the integer value of a key by the given amount")
        .flags(&["write", "denyoom", "fast"])
        .keys([1, 1, 1], &["RW", "access", "update"])
        .categories(&["@write", "@string", "@fast"]),
    Spec::new("info", Handler::Server(Server::Info), -1)
        .about("server", "1.0.0", "Get information and statistics about the server")
        .flags(&["loading", "stale"])
        .categories(&["@slow", "@dangerous"])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    Spec::new("mget", Handler::Keys(Keys::Mget), -2)
        .about("string", "1.0.0", "Get the values of all the given keys")
        .flags(&["readonly", "fast"])
        .keys([1, -1, 1], &["RO", "access"])
        .categories(&["@read", "@string", "@fast"])
        .tips(&["request_policy:multi_shard"]),
    Spec::new("mset", Handler::Keys(Keys::Mset), -3)
        .about("string", "1.0.1", "Set multiple keys to multiple values")
        .flags(&["write", "denyoom"])
        .keys([1, -1, 2], &["OW", "update"])
        .categories(&["@write", "@string", "@slow"])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    Spec::new("ping", Handler::Connection(Connection::Ping), -1)
        .about("connection", "1.0.0", "Ping the server")
        .flags(&["fast"])
        .categories(&["@fast", "@connection"])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    Spec::new("quit", Handler::Connection(Connection::Quit), -1)
        .about("connection", "1.0.0", "Close the connection")
        .flags(&["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"])
        .categories(&["@fast", "@connection"]),
    Spec::new("readonly", Handler::Connection(Connection::Readonly), 1)
        .about("cluster", "3.0.0", "Enables read queries for a connection to a cluster replica node")
        .flags(&["loading", "stale", "fast"])
        .categories(&["@fast", "@connection"]),
    Spec::new("readwrite", Handler::Connection(Connection::Readwrite), 1)
        .about("cluster", "3.0.0", "Disables read queries for a connection to a cluster replica node")
        .flags(&["loading", "stale", "fast"])
        .categories(&["@fast", "@connection"]),
    Spec::new("reset", Handler::Connection(Connection::Reset), 1)
        .about("connection", "6.2.0", "Reset the connection")
        .flags(&["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"])
        .categories(&["@fast", "@connection"]),
    Spec::new("scan", Handler::Keys(Keys::Scan), -2)
        .about("generic", "2.8.0", "Incrementally iterate the keys space")
        .flags(&["readonly"])
        .categories(&["@keyspace", "@read", "@slow"])
        .tips(&["nondeterministic_output", "request_policy:special"]),
    Spec::new("select", Handler::Connection(Connection::Select), 2)
        .about("connection", "1.0.0", "Change the selected database for the current connection")
        .flags(&["loading", "stale", "fast"])
        .categories(&["@fast", "@connection"]),
    Spec::new("set", Handler::Keys(Keys::Set), -3)
        .about("string", "1.0.0", "Set the string value of a key")
        .flags(&["write", "denyoom"])
        .keys([1, 1, 1], &["RW", "access", "update", "variable_flags"])
        .categories(&["@write", "@string", "@slow"]),
    Spec::new("setnx", Handler::Keys(Keys::Setnx), 3)
        .about("string", "1.0.0", "Set the value of a key, only if the key does not exist")
        .flags(&["write", "denyoom", "fast"])
        .keys([1, 1, 1], &["OW", "insert"])
        .categories(&["@write", "@string", "@fast"]),
    Spec::new("strlen", Handler::Keys(Keys::Strlen), 2)
        .about("string", "2.2.0", "Get the length of the value stored in a key")
        .flags(&["readonly", "fast"])
        .keys([1, 1, 1], &["RO"])
        .categories(&["@read", "@string", "@fast"]),
    Spec::new("type", Handler::Keys(Keys::Type), 2)
        .about("generic", "1.0.0", "Determine the type stored at key")
        .flags(&["readonly", "fast"])
        .keys([1, 1, 1], &["RO"])
        .categories(&["@keyspace", "@read", "@fast"]),
    Spec::new("wait", Handler::Server(Server::Wait), 3)
        .about("generic", "3.0.0", "Tells how many replicas have the writes of this connection")
        .flags(&["noscript"])
        .categories(&["@slow", "@connection"])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
];

const CLIENT: &[Spec] = &[
    Spec::new("client|getname", Handler::Connection(Connection::ClientGetname), 2)
        .flags(&["noscript", "loading", "stale"])
        .categories(&["@slow", "@connection"]),
    Spec::new("client|id", Handler::Connection(Connection::ClientId), 2)
        .flags(&["noscript", "loading", "stale"])
        .categories(&["@slow", "@connection"]),
    Spec::new("client|info", Handler::Connection(Connection::ClientInfo), 2)
        .flags(&["noscript", "loading", "stale"])
        .categories(&["@slow", "@connection"])
        .tips(&["nondeterministic_output"]),
    Spec::new("client|list", Handler::Connection(Connection::ClientList), -2)
        .flags(&["admin", "noscript", "loading", "stale"])
        .categories(&["@admin", "@slow", "@dangerous", "@connection"])
        .tips(&["nondeterministic_output"]),
    Spec::new("client|no-evict", Handler::Connection(Connection::ClientNoEvict), 3)
        .flags(&["admin", "noscript", "loading", "stale"])
        .categories(&["@admin", "@slow", "@dangerous", "@connection"]),
    Spec::new("client|no-touch", Handler::Connection(Connection::ClientNoTouch), 3)
        .flags(&["noscript", "loading", "stale"])
        .categories(&["@slow", "@connection"]),
    Spec::new("client|setinfo", Handler::Connection(Connection::ClientSetinfo), 4)
        .flags(&["noscript", "loading", "stale"])
        .categories(&["@slow", "@connection"])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Spec::new("client|setname", Handler::Connection(Connection::ClientSetname), 3)
        .flags(&["noscript", "loading", "stale"])
        .categories(&["@slow", "@connection"]),
];

const CLUSTER: &[Spec] = &[
    Spec::new("cluster|countkeysinslot", Handler::Cluster(Cluster::Countkeysinslot), 3)
        .flags(&["stale"])
        .categories(&["@slow"]),
    Spec::new("cluster|getkeysinslot", Handler::Cluster(Cluster::Getkeysinslot), 4)
        .flags(&["stale"])
        .categories(&["@slow"])
        .tips(&["nondeterministic_output"]),
    Spec::new("cluster|info", Handler::Cluster(Cluster::Info), 2)
        .flags(&["stale"])
        .categories(&["@slow"])
        .tips(&["nondeterministic_output"]),
    Spec::new("cluster|keyslot", Handler::Cluster(Cluster::Keyslot), 3)
        .flags(&["stale"])
        .categories(&["@slow"]),
    Spec::new("cluster|myid", Handler::Cluster(Cluster::Myid), 2).flags(&["stale"]).categories(&["@slow"]),
    Spec::new("cluster|nodes", Handler::Cluster(Cluster::Nodes), 2)
        .flags(&["stale"])
        .categories(&["@slow"])
        .tips(&["nondeterministic_output"]),
    Spec::new("cluster|shards", Handler::Cluster(Cluster::Shards), 2)
        .flags(&["stale"])
        .categories(&["@slow"])
        .tips(&["nondeterministic_output"]),
    Spec::new("cluster|slots", Handler::Cluster(Cluster::Slots), 2)
        .flags(&["stale"])
        .categories(&["@slow"])
        .tips(&["nondeterministic_output"]),
];

const COMMAND: &[Spec] = &[
    Spec::new("command|count", Handler::Server(Server::CommandCount), 2)
        .flags(&["loading", "stale"])
        .categories(&["@slow", "@connection"]),
    Spec::new("command|docs", Handler::Server(Server::CommandDocs), -2)
        .flags(&["loading", "stale"])
        .categories(&["@slow", "@connection"])
        .tips(&["nondeterministic_output_order"]),
    Spec::new("command|getkeys", Handler::Server(Server::CommandGetkeys), -4)
        .flags(&["loading", "stale"])
        .categories(&["@slow", "@connection"]),
    Spec::new("command|info", Handler::Server(Server::CommandInfo), -2)
        .flags(&["loading", "stale"])
        .categories(&["@slow", "@connection"])
        .tips(&["nondeterministic_output_order"]),
    Spec::new("command|list", Handler::Server(Server::CommandList), -2)
        .flags(&["loading", "stale"])
        .categories(&["@slow", "@connection"])
        .tips(&["nondeterministic_output_order"]),
];

const CONFIG: &[Spec] = &[Spec::new("config|get", Handler::Server(Server::ConfigGet), -3)
    .flags(&["admin", "noscript", "loading", "stale"])
    .categories(&["@admin", "@slow", "@dangerous"])];
