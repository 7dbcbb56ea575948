//! The commands this server knows, as `COMMAND` lists them. What is not here is an unknown command.

/// Which code carries a command out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// `CLIENT SETINFO`, `CLIENT SETNAME`: accepted and ignored.
    Client,
    /// `COMMAND`, `COMMAND COUNT`, `COMMAND DOCS`.
    Command,
    /// `CONFIG GET`.
    Config,
    /// `DEL`.
    Del,
    /// `ECHO`.
    Echo,
    /// `EXISTS`.
    Exists,
    /// `GET`.
    Get,
    /// `INFO`.
    Info,
    /// `MGET`.
    Mget,
    /// `MSET`.
    Mset,
    /// `PING`.
    Ping,
    /// `QUIT`.
    Quit,
    /// `SELECT 0`.
    Select,
    /// `SET` without options.
    Set,
}

/// One command, in the terms of `COMMAND`.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Lower case.
    pub name: &'static str,
    /// Who carries it out.
    pub handler: Handler,
    /// How many arguments, the name among them; at least so many when negative.
    pub arity: i64,
    /// What it does to the data and what it may be used in.
    pub flags: &'static [&'static str],
    /// Place of the first key, the last key (-1: the last argument), and the step between keys; 0 without keys.
    pub keys: [i64; 3],
    /// The family Redis files it under.
    pub group: &'static str,
    /// One line of help.
    pub summary: &'static str,
}

impl Spec {
    /// Whether a request of so many arguments, the name among them, is well formed.
    pub fn takes(&self, count: usize) -> bool {
        let least = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        if self.arity < 0 { count >= least } else { count == least }
    }
}

/// Sorted by name.
pub const TABLE: &[Spec] = &[
    admin("client", Handler::Client, -2, "Settings of this connection"),
    admin("command", Handler::Command, -1, "Describes the commands of this server"),
    admin("config", Handler::Config, -2, "Settings of this server"),
    write("del", Handler::Del, -2, [1, -1, 1], "Removes keys"),
    connection("echo", Handler::Echo, 2, "Returns its argument"),
    read("exists", Handler::Exists, -2, [1, -1, 1], "Counts the keys that exist"),
    read("get", Handler::Get, 2, [1, 1, 1], "Returns the value of a key"),
    admin("info", Handler::Info, -1, "Tells about this server"),
    read("mget", Handler::Mget, -2, [1, -1, 1], "Returns the values of keys"),
    write("mset", Handler::Mset, -3, [1, -1, 2], "Sets keys, each group on its own"),
    connection("ping", Handler::Ping, -1, "Answers PONG or its argument"),
    connection("quit", Handler::Quit, -1, "Closes this connection"),
    connection("select", Handler::Select, 2, "Accepts database 0"),
    write("set", Handler::Set, -3, [1, 1, 1], "Sets a key"),
];

const fn read(
    name: &'static str,
    handler: Handler,
    arity: i64,
    keys: [i64; 3],
    summary: &'static str,
) -> Spec {
    Spec { name, handler, arity, flags: &["readonly", "fast"], keys, group: "generic", summary }
}

const fn write(
    name: &'static str,
    handler: Handler,
    arity: i64,
    keys: [i64; 3],
    summary: &'static str,
) -> Spec {
    Spec { name, handler, arity, flags: &["write", "denyoom"], keys, group: "generic", summary }
}

const fn connection(name: &'static str, handler: Handler, arity: i64, summary: &'static str) -> Spec {
    Spec {
        name,
        handler,
        arity,
        flags: &["fast", "stale", "loading"],
        keys: [0; 3],
        group: "connection",
        summary,
    }
}

const fn admin(name: &'static str, handler: Handler, arity: i64, summary: &'static str) -> Spec {
    Spec { name, handler, arity, flags: &["stale", "loading"], keys: [0; 3], group: "server", summary }
}

/// The command of that name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_lower_case_and_found_in_any_case() {
        assert!(TABLE.is_sorted_by_key(|spec| spec.name));
        for spec in TABLE {
            assert_eq!(find(spec.name.to_uppercase().as_bytes()).unwrap().name, spec.name);
            assert_eq!(spec.name, spec.name.to_lowercase());
        }
        assert!(find(b"").is_none() && find(b"gets").is_none());
    }

    #[test]
    fn arity_counts_the_name_and_negative_means_at_least() {
        assert!(find(b"get").unwrap().takes(2) && !find(b"get").unwrap().takes(3));
        assert!(find(b"mset").unwrap().takes(5) && !find(b"mset").unwrap().takes(2));
    }
}
