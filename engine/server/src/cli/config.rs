//! `quorate config`: what a node would be set up with, without starting it.

use clap::{Args, Subcommand};
use serde_json::json;

use super::node::ConfigArgs;
use super::print;
use crate::config::{Printed, template};
use crate::exit::{self, StartError};

/// Subcommands of `quorate config`.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Tells everything that is wrong with a configuration; exit code 3 if anything is.
    Check(CheckArgs),
    /// Prints a configuration as TOML: what is set and where; secrets are redacted.
    Print(PrintArgs),
    /// Prints an annotated configuration with every key.
    Template,
}

/// Options of `quorate config check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Prints {"ok", "problems": [{"file", "line", "source", "key", "problem"}]} to standard output.
    #[arg(long)]
    json: bool,
}

/// Options of `quorate config print`.
#[derive(Debug, Args)]
pub(super) struct PrintArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Prints every key, also those that have their default.
    #[arg(long)]
    effective: bool,
}

impl ConfigCommand {
    /// Checks or prints.
    pub(super) fn run(self) -> Result<(), StartError> {
        match self {
            Self::Check(args) => args.run(),
            Self::Print(PrintArgs { config, effective }) => {
                let printed = if effective { Printed::Effective } else { Printed::Set };
                print(format_args!("{}", config.load()?.to_toml(printed)))
            }
            Self::Template => print(format_args!("{}", template())),
        }
    }
}

impl CheckArgs {
    fn run(self) -> Result<(), StartError> {
        match (self.config.load(), self.json) {
            (Ok(_), true) => print(format_args!("{}\n", json!({ "ok": true, "problems": [] }))),
            (Ok(config), false) => print(format_args!("{}: ok\n", config.file.display())),
            (Err(StartError::Settings(error)), true) => {
                print(format_args!("{}\n", json!({ "ok": false, "problems": error.to_json() })))?;
                Err(StartError::Reported { exit_code: exit::CONFIG })
            }
            (Err(error), _) => Err(error),
        }
    }
}
