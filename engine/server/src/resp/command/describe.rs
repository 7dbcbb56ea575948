//! The replies of `COMMAND` and its subcommands: the table, in the forms of Redis 7.

use bytes::Bytes;

use super::{Spec, TABLE, find};
use crate::resp::glob::Glob;
use crate::resp::reply::{self, Reply};

/// Names that one request may ask about: a short name has a long answer.
const NAMES_MAX: usize = 256;

/// `COMMAND` and `COMMAND INFO [name ...]`: all commands, or those named, null for what is none.
pub(in crate::resp) fn info(names: &[Bytes]) -> Reply {
    if names.is_empty() {
        return Reply::Array(TABLE.iter().map(info_of).collect());
    }
    if names.len() > NAMES_MAX {
        return too_many_names();
    }
    Reply::Array(names.iter().map(|name| find(name).map_or(Reply::Null, info_of)).collect())
}

/// `COMMAND DOCS [name ...]`: names and what is known of them; what is no command is left out.
pub(in crate::resp) fn docs(names: &[Bytes]) -> Reply {
    let docs = |spec: &Spec| {
        let fields = [("summary", spec.summary), ("since", spec.since), ("group", spec.group)];
        let fields = fields.map(|(name, value)| (reply::word(name), reply::word(value)));
        (reply::word(spec.name), Reply::Map(fields.into()))
    };
    if names.is_empty() {
        return Reply::Map(TABLE.iter().map(docs).collect());
    }
    if names.len() > NAMES_MAX {
        return too_many_names();
    }
    Reply::Map(names.iter().filter_map(|name| find(name)).map(docs).collect())
}

fn too_many_names() -> Reply {
    reply::error(&format!("ERR at most {NAMES_MAX} names in one request"))
}

/// `COMMAND LIST [FILTERBY PATTERN pattern]`.
pub(in crate::resp) fn names(args: &[Bytes]) -> Reply {
    let pattern = match args {
        [] => None,
        [by, kind, pattern]
            if by.eq_ignore_ascii_case(b"filterby") && kind.eq_ignore_ascii_case(b"pattern") =>
        {
            match Glob::ignoring_case(pattern) {
                Ok(pattern) => Some(pattern),
                Err(error) => return reply::error(&format!("ERR {error}")),
            }
        }
        _ => return reply::syntax_error(),
    };
    let is_wanted =
        |spec: &&Spec| pattern.as_ref().is_none_or(|pattern| pattern.matches(spec.name.as_bytes()));
    Reply::Array(TABLE.iter().filter(is_wanted).map(|spec| reply::word(spec.name)).collect())
}

/// `COMMAND GETKEYS name [arg ...]`: the keys among the arguments of a request.
pub(in crate::resp) fn keys_of(request: &[Bytes]) -> Reply {
    let Some(spec) = request.first().and_then(|name| find(name)) else {
        return reply::error("ERR Invalid command specified");
    };
    let [first, last, step] = spec.keys;
    if first == 0 {
        return reply::error("ERR The command has no key arguments");
    }
    if !spec.takes(request.len()) {
        return reply::error("ERR Invalid number of arguments specified for command");
    }
    let place = |at: i64| usize::try_from(if at < 0 { at + length(request) } else { at }).unwrap_or(0);
    let keys = request[place(first)..=place(last)].iter().step_by(place(step).max(1));
    Reply::Array(keys.cloned().map(Reply::Bulk).collect())
}

fn length(request: &[Bytes]) -> i64 {
    i64::try_from(request.len()).unwrap_or(i64::MAX)
}

/// The ten fields of Redis 7.
fn info_of(spec: &Spec) -> Reply {
    let simple = |texts: &[&'static str]| Reply::Set(texts.iter().map(|text| Reply::Simple(text)).collect());
    let [first, last, step] = spec.keys;
    Reply::Array(vec![
        reply::word(spec.name),
        Reply::Integer(spec.arity),
        simple(spec.flags),
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Integer(step),
        simple(spec.categories),
        Reply::Set(spec.tips.iter().map(|tip| reply::word(tip)).collect()),
        Reply::Set(key_specification(spec).into_iter().collect()),
        Reply::Array(spec.subcommands.iter().map(info_of).collect()),
    ])
}

/// Where the keys are, in the words of Redis 7: all commands here have them in one run.
fn key_specification(spec: &Spec) -> Option<Reply> {
    let [first, last, step] = spec.keys;
    if first == 0 {
        return None;
    }
    // Counted from the first key, unless from the end.
    let last = if last < 0 { last } else { last - first };
    let search = [("index", first)];
    let range = [("lastkey", last), ("keystep", step), ("limit", 0)];
    let flags = Reply::Set(spec.key_flags.iter().map(|flag| Reply::Simple(flag)).collect());
    Some(Reply::Map(vec![
        (reply::word("flags"), flags),
        (reply::word("begin_search"), typed("index", &search)),
        (reply::word("find_keys"), typed("range", &range)),
    ]))
}

fn typed(kind: &'static str, fields: &[(&'static str, i64)]) -> Reply {
    let fields = fields.iter().map(|&(name, value)| (reply::word(name), Reply::Integer(value)));
    let spec = Reply::Map(fields.collect());
    Reply::Map(vec![(reply::word("type"), reply::word(kind)), (reply::word("spec"), spec)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(request: &'static str) -> Reply {
        let args: Vec<_> = request.split(' ').map(|word| Bytes::from_static(word.as_bytes())).collect();
        keys_of(&args)
    }

    #[test]
    fn keys_are_found_where_the_table_says() {
        let words =
            |words: &[&'static str]| Reply::Array(words.iter().map(|word| reply::word(word)).collect());
        assert_eq!(keys("GET a"), words(&["a"]));
        assert_eq!(keys("set a 1 NX"), words(&["a"]));
        assert_eq!(keys("mset a 1 b 2"), words(&["a", "b"]));
        assert_eq!(keys("del a b c"), words(&["a", "b", "c"]));
        for (request, error) in [
            ("nothing a", "ERR Invalid command specified"),
            ("ping a", "ERR The command has no key arguments"),
            ("get", "ERR Invalid number of arguments specified for command"),
        ] {
            assert_eq!(keys(request), reply::error(error));
        }
    }
}
