//! Which node is asked, and with which token.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use secrecy::SecretString;

use crate::client::{AdminClient, ClientError};
use crate::config::read_secret;
use crate::exit::StartError;

/// The variable that holds the token. Never an option: other users of the machine can read the command line.
const TOKEN_VARIABLE: &str = "QUORATE_ADMIN_TOKEN";

/// What every command takes that asks a node.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Target {
    /// The node's admin listener.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9180")]
    pub(in crate::cli) node: String,
    /// File that holds the token, if the node asks for one. Without it: the variable QUORATE_ADMIN_TOKEN.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// Prints JSON, for scripts.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl Target {
    /// A client of the node.
    ///
    /// # Errors
    /// [`StartError::Option`].
    pub(in crate::cli) fn client(&self) -> Result<AdminClient, StartError> {
        let token = match &self.token_file {
            Some(path) => {
                let read = read_secret(path);
                Some(read.map_err(|problem| StartError::Option { option: "--token-file", problem })?)
            }
            None => {
                std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()).map(SecretString::from)
            }
        };
        AdminClient::new(&self.node, token)
            .map_err(|error| StartError::Option { option: "--node", problem: error.to_string() })
    }
}

/// A command that failed with what the node said, or with its silence.
pub(in crate::cli) fn failed(error: ClientError) -> StartError {
    StartError::Failed { source: Arc::new(error) }
}
