//! `quorate inspect`: what is in a data directory, and what a start would do with it.

mod table;

use std::io::Write as _;

pub(super) use self::table::FindingText;

use clap::Args;
use quorate::storage::offline::inspect;

use super::print;
use super::stopped::{StoppedArgs, print_json};
use crate::exit::StartError;

/// Options of `quorate inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    stopped: StoppedArgs,
}

impl InspectArgs {
    /// Prints what is there. What cannot be read is part of the answer, and no failure of the command.
    pub(super) fn run(self) -> Result<(), StartError> {
        let dir = self.stopped.lock()?;
        self.stopped.check_group()?;
        let report = inspect(&dir, &self.stopped.options());
        if self.stopped.json {
            return print_json(&report);
        }
        print(format_args!("{}", table::Text(&report)))?;
        if !report.findings.is_empty() {
            let hint = "quorate: not all of it could be read; `quorate verify` checks every byte";
            let _ = writeln!(std::io::stderr(), "{hint}");
        }
        Ok(())
    }
}
