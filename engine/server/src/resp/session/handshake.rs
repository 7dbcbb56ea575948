//! `HELLO` and `AUTH`, in the words of Redis 7.

use bytes::Bytes;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use super::super::introspect;
use super::{Session, plain};
use crate::resp::arguments;
use crate::resp::encode::Protocol;
use crate::resp::reply::{self, Reply};

/// The only user.
const USER: &[u8] = b"default";

impl Session<'_> {
    /// `HELLO [2 | 3 [AUTH user password] [SETNAME name]]`. Nothing changes unless all of it is right.
    pub(super) fn hello(&mut self, args: &[Bytes]) -> Result<Reply, Reply> {
        let (version, mut options) = match args.split_first() {
            Some((version, options)) => (Some(version), options),
            None => (None, args),
        };
        let protocol = version.map_or(Ok(self.protocol), |version| protocol(version))?;
        let (mut credentials, mut name) = (None, None);
        while let Some((option, rest)) = options.split_first() {
            options = match (option.to_ascii_lowercase().as_slice(), rest) {
                (b"auth", [user, password, rest @ ..]) => {
                    credentials = Some((user, password));
                    rest
                }
                (b"setname", [value, rest @ ..]) => {
                    name = Some(plain("Client names", value)?);
                    rest
                }
                _ => {
                    let option = String::from_utf8_lossy(option);
                    return Err(reply::error(&format!("ERR Syntax error in HELLO option '{option}'")));
                }
            };
        }
        if let Some((user, password)) = credentials {
            self.authenticate(user, password)?;
        }
        if !self.is_authenticated {
            return Err(reply::error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version \
                 at the same time",
            ));
        }
        self.protocol = protocol;
        self.frontend.clients.with(self.id, |client| {
            client.protocol = protocol;
            if let Some(name) = name {
                client.name = name;
            }
        });
        Ok(self.greeting())
    }

    /// `AUTH [user] password`.
    pub(super) fn auth(&mut self, args: &[Bytes]) -> Result<Reply, Reply> {
        match args {
            [_] if self.frontend.password.is_none() => {
                return Err(reply::error(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                     your configuration is correct?",
                ));
            }
            [password] => self.authenticate(USER, password)?,
            [user, password] => self.authenticate(user, password)?,
            _ => return Err(reply::syntax_error()),
        }
        Ok(reply::OK)
    }

    /// A wrong password takes nothing away: a client that was authenticated still is, as in Redis.
    fn authenticate(&mut self, user: &[u8], password: &[u8]) -> Result<(), Reply> {
        let is_right = match &self.frontend.password {
            None => true,
            // In constant time: how far a guess was right must not show. Its length may.
            Some(expected) => expected.expose_secret().as_bytes().ct_eq(password).into(),
        };
        if user != USER || !is_right {
            return Err(reply::error("WRONGPASS invalid username-password pair or user is disabled."));
        }
        self.is_authenticated = true;
        Ok(())
    }

    fn greeting(&self) -> Reply {
        let id = Reply::Integer(i64::try_from(self.id).unwrap_or(i64::MAX));
        let fields = [
            ("server", reply::word("redis")),
            ("version", reply::word(introspect::REDIS_VERSION)),
            ("proto", Reply::Integer(self.protocol.number())),
            ("id", id),
            ("mode", reply::word(introspect::mode(self.frontend.routing))),
            ("role", reply::word("master")),
            ("modules", Reply::Array(Vec::new())),
        ];
        Reply::Map(fields.into_iter().map(|(name, value)| (reply::word(name), value)).collect())
    }
}

fn protocol(version: &[u8]) -> Result<Protocol, Reply> {
    match arguments::integer(version) {
        Ok(2) => Ok(Protocol::Resp2),
        Ok(3) => Ok(Protocol::Resp3),
        Ok(_) => Err(reply::error("NOPROTO unsupported protocol version")),
        Err(_) => Err(reply::error("ERR Protocol version is not an integer or out of range")),
    }
}
