//! The commands this server knows, as `COMMAND` lists them. What is not here is an unknown command.

mod describe;
mod table;

use bytes::Bytes;

use super::reply::{self, Reply};

pub(super) use describe::{docs, info, keys_of, names};
pub(super) use table::TABLE;

/// Which code carries a command out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handler {
    /// One of its subcommands does.
    Container,
    Keys(Keys),
    Connection(Connection),
    Cluster(Cluster),
    Server(Server),
}

/// Commands on the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    Append,
    Dbsize,
    Decr,
    Decrby,
    Del,
    Exists,
    Get,
    Getdel,
    Getset,
    Incr,
    Incrby,
    Mget,
    Mset,
    Scan,
    Set,
    Setnx,
    Strlen,
    Type,
}

/// Commands on the state of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    Asking,
    Auth,
    ClientGetname,
    ClientId,
    ClientInfo,
    ClientList,
    ClientNoEvict,
    ClientNoTouch,
    ClientSetinfo,
    ClientSetname,
    Echo,
    Hello,
    Ping,
    Quit,
    Readonly,
    Readwrite,
    Reset,
    Select,
}

/// The subcommands of `CLUSTER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cluster {
    Countkeysinslot,
    Getkeysinslot,
    Info,
    Keyslot,
    Myid,
    Nodes,
    Shards,
    Slots,
}

/// Commands about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Command,
    CommandCount,
    CommandDocs,
    CommandGetkeys,
    CommandInfo,
    CommandList,
    ConfigGet,
    Info,
    Wait,
}

/// One command, in the terms of `COMMAND`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    /// Lower case; of a subcommand `cluster|slots`.
    pub(super) name: &'static str,
    /// Who carries it out.
    pub(super) handler: Handler,
    /// How many arguments, the name (or both names) among them; at least so many when negative.
    arity: i64,
    /// What it does to the data and what it may be used in.
    flags: &'static [&'static str],
    /// Place of the first key, the last key (-1: the last argument), and the step between keys; 0 without keys.
    keys: [i64; 3],
    /// What it does to its keys.
    key_flags: &'static [&'static str],
    /// The categories of its access control.
    categories: &'static [&'static str],
    /// How a cluster client sends it to several nodes and puts the replies together.
    tips: &'static [&'static str],
    /// The family Redis files it under.
    group: &'static str,
    /// The version of Redis it is from.
    since: &'static str,
    /// One line of help.
    summary: &'static str,
    /// Sorted by name.
    subcommands: &'static [Spec],
}

impl Spec {
    const fn new(name: &'static str, handler: Handler, arity: i64) -> Self {
        Self {
            name,
            handler,
            arity,
            flags: &[],
            keys: [0; 3],
            key_flags: &[],
            categories: &[],
            tips: &[],
            group: "",
            since: "",
            summary: "",
            subcommands: &[],
        }
    }

    const fn about(self, group: &'static str, since: &'static str, summary: &'static str) -> Self {
        Self { group, since, summary, ..self }
    }

    const fn flags(self, flags: &'static [&'static str]) -> Self {
        Self { flags, ..self }
    }

    const fn keys(self, keys: [i64; 3], key_flags: &'static [&'static str]) -> Self {
        Self { keys, key_flags, ..self }
    }

    const fn categories(self, categories: &'static [&'static str]) -> Self {
        Self { categories, ..self }
    }

    const fn tips(self, tips: &'static [&'static str]) -> Self {
        Self { tips, ..self }
    }

    const fn subcommands(self, subcommands: &'static [Spec]) -> Self {
        Self { subcommands, ..self }
    }

    /// Whether a request of so many arguments, the name among them, is well formed.
    fn takes(&self, count: usize) -> bool {
        let least = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        if self.arity < 0 { count >= least } else { count == least }
    }

    /// Whether a client that has not given the password may send it.
    pub(super) fn needs_no_password(&self) -> bool {
        self.flags.contains(&"no_auth")
    }

    /// The subcommand of that name, in any case.
    fn subcommand(&self, name: &[u8]) -> Option<&'static Spec> {
        let parent_bytes = self.name.len() + 1;
        self.subcommands.iter().find(|spec| spec.name.as_bytes()[parent_bytes..].eq_ignore_ascii_case(name))
    }
}

/// The command of that name, in any case.
pub(super) fn find(name: &[u8]) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}

/// The command or subcommand that `args` calls, and its arguments without its name or names.
///
/// # Errors
/// The reply that says what is wrong with the name or the number of arguments.
pub(super) fn resolve(args: &[Bytes]) -> Result<(&'static Spec, &[Bytes]), Reply> {
    let Some(command) = args.first().and_then(|name| find(name)) else {
        return Err(reply::unknown_command(args));
    };
    let (spec, names) = match args.get(1) {
        Some(name) if !command.subcommands.is_empty() => match command.subcommand(name) {
            Some(subcommand) => (subcommand, 2),
            None => return Err(reply::unknown_subcommand(command.name, name)),
        },
        _ => (command, 1),
    };
    if spec.takes(args.len()) { Ok((spec, &args[names..])) } else { Err(reply::wrong_arity(spec.name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &'static str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::from_static(word.as_bytes())).collect()
    }

    #[test]
    fn names_are_sorted_lower_case_and_found_in_any_case() {
        assert!(TABLE.is_sorted_by_key(|spec| spec.name));
        for spec in TABLE {
            assert_eq!(find(spec.name.to_uppercase().as_bytes()).unwrap().name, spec.name);
            assert_eq!(spec.name, spec.name.to_lowercase());
            assert!(spec.subcommands.is_sorted_by_key(|spec| spec.name));
            for subcommand in spec.subcommands {
                let (parent, name) = subcommand.name.split_once('|').unwrap();
                assert_eq!(parent, spec.name);
                assert_eq!(spec.subcommand(name.to_uppercase().as_bytes()).unwrap().name, subcommand.name);
            }
        }
        assert!(find(b"").is_none() && find(b"gets").is_none() && find(b"cluster|slots").is_none());
    }

    #[test]
    fn a_container_is_never_called_by_itself() {
        for spec in TABLE.iter().filter(|spec| spec.handler == Handler::Container) {
            assert!(!spec.takes(1) && !spec.subcommands.is_empty(), "{}", spec.name);
        }
    }

    #[test]
    fn arity_counts_the_names_and_negative_means_at_least() {
        for good in ["get a", "mset a b c d", "CLUSTER SLOTS", "command", "command count", "config get a b"] {
            assert!(resolve(&args(good)).is_ok(), "{good}");
        }
        for (bad, name) in [
            ("get", "get"),
            ("get a b", "get"),
            ("mset a", "mset"),
            ("cluster", "cluster"),
            ("cluster keyslot", "cluster|keyslot"),
            ("config get", "config|get"),
        ] {
            assert_eq!(resolve(&args(bad)).unwrap_err(), reply::wrong_arity(name), "{bad}");
        }
        let unknown = resolve(&args("CLUSTER x")).unwrap_err();
        assert_eq!(unknown, Reply::Error("ERR unknown subcommand 'x'. Try CLUSTER HELP.".to_owned()));
        assert_eq!(resolve(&args("CONFIG GET a")).unwrap().1, args("a"));
    }
}
