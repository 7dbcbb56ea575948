//! A blocking client of a node's admin listener: what `quorate admin` and `quorate repair` are made of.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;

use crate::operator::OperatorCode;

/// How long an answer may take that asks for no work.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// What an answer to a command may take beyond the command's own time.
const ANSWER_SLACK: Duration = Duration::from_secs(10);
/// How long a node may take to publish a snapshot for a backup: a bit more than it gives itself.
const PUBLISH_MAX: Duration = Duration::from_secs(3_660);
/// How long nothing may come of a file that is sent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Longest answer in bytes: a page of ten thousand groups has a tenth of it.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// One node's admin listener.
#[derive(Clone, Debug)]
pub struct AdminClient {
    agent: Agent,
    node: String,
    token: Option<SecretString>,
}

/// Why there is no answer, or none that helps.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Only plain HTTP is spoken.
    #[error("{node} is no address of an admin listener: it begins with http://")]
    Address {
        /// As it was given.
        node: String,
    },
    /// Nobody answers there, or no longer.
    #[error("{node} does not answer: {source}")]
    Unreachable {
        /// The node.
        node: String,
        /// The cause.
        source: ureq::Error,
    },
    /// The node says no.
    #[error("{node}: {text}")]
    Refused {
        /// The node.
        node: String,
        /// The status of its answer.
        status: u16,
        /// [`OperatorCode::label`], if the node says one.
        code: Option<String>,
        /// [`crate::operator::OperatorError::at_least`], if the node says one.
        at_least: Option<u64>,
        /// What it says.
        text: String,
    },
    /// The answer is none of a node of this release.
    #[error("{node} gave an answer that is not understood: {source}")]
    Answer {
        /// The node.
        node: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl ClientError {
    /// Whether the node has said `code`.
    pub fn is(&self, code: OperatorCode) -> bool {
        matches!(self, Self::Refused { code: Some(said), .. } if said == code.label())
    }

    /// The entry to ask for from now on, if the node has named one.
    pub fn at_least(&self) -> Option<u64> {
        match self {
            Self::Refused { at_least, .. } => *at_least,
            _ => None,
        }
    }
}

impl AdminClient {
    /// A client of the listener at `node`, such as `http://127.0.0.1:9180`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn new(node: &str, token: Option<SecretString>) -> Result<Self, ClientError> {
        let node = node.trim_end_matches('/').to_owned();
        if !node.starts_with("http://") {
            return Err(ClientError::Address { node });
        }
        // No proxy of the environment, no redirect: the token goes where it was meant to go.
        let config = Agent::config_builder().proxy(None).max_redirects(0).http_status_as_error(false);
        Ok(Self { agent: config.build().into(), node, token })
    }

    /// Its address.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// A client of another node's listener, with the same token.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn of(&self, node: &str) -> Result<Self, ClientError> {
        Self::new(node, self.token.clone())
    }

    /// The page at `path`, which is JSON.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn get(&self, path: &str) -> Result<Value, ClientError> {
        let mut request = self.agent.get(format!("{}{path}", self.node));
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        let answer = request.config().timeout_global(Some(ANSWER_MAX)).build().call();
        self.read(answer)
    }

    /// Has the node do what `path` names, for `timeout` at most. `path` may have parameters.
    ///
    /// # Errors
    /// [`ClientError`]; with [`OperatorCode::Deadline`] it may be asked for again.
    pub fn post(&self, path: &str, timeout: Duration) -> Result<Value, ClientError> {
        let (joint, timeout_ms) = (if path.contains('?') { '&' } else { '?' }, timeout.as_millis().max(1));
        let mut request = self.agent.post(format!("{}{path}{joint}timeout_ms={timeout_ms}", self.node));
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        let answer = request.config().timeout_global(Some(timeout + ANSWER_SLACK)).build().send_empty();
        self.read(answer)
    }

    /// Has the node publish a snapshot of `group` for a backup.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn publish_for_backup(&self, group: u64) -> Result<Value, ClientError> {
        let mut request = self.agent.post(format!("{}/backup/groups/{group}", self.node));
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        let answer =
            request.config().timeout_connect(Some(ANSWER_MAX)).timeout_global(Some(PUBLISH_MAX)).build();
        self.read(answer.send_empty())
    }

    /// The bytes at `path`, as they come. A read fails if nothing comes for a while.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn stream(&self, path: &str) -> Result<impl std::io::Read + use<>, ClientError> {
        let mut request = self.agent.get(format!("{}{path}", self.node));
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        let config = request.config().timeout_connect(Some(ANSWER_MAX)).timeout_per_read(Some(SILENCE_MAX));
        let answer = config.timeout_recv_response(Some(ANSWER_MAX)).build().call();
        match answer {
            Ok(answer) if answer.status().is_success() => Ok(answer.into_body().into_reader()),
            other => match self.read(other) {
                Err(refused) => Err(refused),
                Ok(_) => unreachable!("an answer without success is an error"),
            },
        }
    }

    fn bearer(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {}", token.expose_secret()))
    }

    fn read(&self, answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<Value, ClientError> {
        let node = self.node.clone();
        let unreachable = |source| ClientError::Unreachable { node: self.node.clone(), source };
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(unreachable)?;
        let parsed: Result<Value, _> = serde_json::from_slice(&body);
        if (200..300).contains(&status) {
            return parsed.map_err(|source| ClientError::Answer { node, source });
        }
        let said = parsed.unwrap_or_default();
        let text = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
        let told = text("error").unwrap_or_else(|| format!("it answers with status {status}"));
        let at_least = said.get("at_least").and_then(Value::as_u64);
        Err(ClientError::Refused { node, status, code: text("code"), at_least, text: told })
    }
}
