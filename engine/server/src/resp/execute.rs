//! From a request to what has to be done for it: an immediate reply, or keys to read or write.

use bytes::Bytes;

use super::command::{self, Handler, Spec};
use super::introspect;
use super::pipeline::Plan;
use super::reply::{self, Reply};
use super::server::Frontend;
use super::splitter::Request;
use crate::backend::Write;
use crate::key::{KEY_BYTES_MAX, VALUE_BYTES_MAX, engine_key};

/// What `request` asks for. Touches no data.
pub(super) fn plan(request: &Request, frontend: &Frontend) -> Plan {
    let Some(spec) = request.args.first().and_then(|name| command::find(name)) else {
        return Plan::Reply(reply::unknown_command(&request.args));
    };
    if !spec.takes(request.args.len()) {
        return Plan::Reply(reply::wrong_arity(spec.name));
    }
    plan_known(spec, &request.args[1..], frontend).unwrap_or_else(Plan::Reply)
}

/// The error is the reply to send instead.
fn plan_known(spec: &Spec, args: &[Bytes], frontend: &Frontend) -> Result<Plan, Reply> {
    Ok(match spec.handler {
        Handler::Get => Plan::Get { key: key(&args[0])? },
        Handler::Set => match args {
            [name, value] => Plan::Set { write: put(name, value)? },
            _ => return Err(reply::error("ERR syntax error")),
        },
        Handler::Mget => Plan::Mget { keys: keys(args)? },
        Handler::Exists => Plan::Exists { keys: keys(args)? },
        Handler::Del => {
            Plan::Del { writes: keys(args)?.into_iter().map(|key| Write::Delete { key }).collect() }
        }
        Handler::Mset => {
            if !args.len().is_multiple_of(2) {
                return Err(reply::wrong_arity(spec.name));
            }
            let pairs = args.chunks_exact(2).map(|pair| put(&pair[0], &pair[1]));
            Plan::Mset { writes: pairs.collect::<Result<_, _>>()? }
        }
        Handler::Ping => match args {
            [] => Plan::Reply(reply::simple("PONG")),
            [message] => Plan::Reply(Reply::BulkString(message.clone())),
            _ => return Err(reply::wrong_arity(spec.name)),
        },
        Handler::Echo => Plan::Reply(Reply::BulkString(args[0].clone())),
        Handler::Select => Plan::Reply(select(&args[0])),
        Handler::Quit => Plan::Close(reply::ok()),
        Handler::Info => Plan::Reply(introspect::info(args, frontend)),
        Handler::Command => Plan::Reply(introspect::command(args)),
        Handler::Config => Plan::Reply(introspect::config(args, frontend)),
        Handler::Client => Plan::Reply(introspect::client(args)),
    })
}

fn key(name: &Bytes) -> Result<Bytes, Reply> {
    check_limit("key", name.len(), KEY_BYTES_MAX)?;
    Ok(engine_key(name))
}

fn keys(names: &[Bytes]) -> Result<Vec<Bytes>, Reply> {
    names.iter().map(key).collect()
}

fn put(name: &Bytes, value: &Bytes) -> Result<Write, Reply> {
    check_limit("value", value.len(), VALUE_BYTES_MAX)?;
    Ok(Write::Put { key: key(name)?, value: value.clone() })
}

fn check_limit(what: &str, bytes: usize, bytes_max: usize) -> Result<(), Reply> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(reply::error(&format!("ERR {what} has {bytes} bytes, the limit is {bytes_max}")))
}

fn select(database: &[u8]) -> Reply {
    match std::str::from_utf8(database).ok().and_then(|text| text.parse::<i64>().ok()) {
        Some(0) => reply::ok(),
        Some(_) => reply::error("ERR DB index is out of range"),
        None => reply::error("ERR value is not an integer or out of range"),
    }
}
