//! `quorate verify`: whether a data directory or a backup is still what was written.

use clap::Args;
use quorate::storage::offline::{FindingClass, VerifyProgress, VerifyReport, verify};

use super::inspect::FindingText;
use super::print;
use super::progress::Progress;
use super::stopped::{StoppedArgs, print_json};
use crate::exit::{self, StartError};

/// Options of `quorate verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    stopped: StoppedArgs,
}

impl VerifyArgs {
    /// Checks everything and prints every finding.
    pub(super) fn run(self) -> Result<(), StartError> {
        let options = self.stopped.options();
        let mut progress = Progress::new(options.clock.clone(), "checked");
        let mut tell = |now: &VerifyProgress| {
            progress.tell(now.bytes, Some(now.bytes_total), &|| match now.findings {
                0 => String::new(),
                findings => format!("{findings} findings"),
            });
        };
        let report = if self.stopped.is_backup()? {
            self.stopped.verify_backup(&mut tell)?
        } else {
            let dir = self.stopped.lock()?;
            self.stopped.check_group()?;
            verify(&dir, &options, &mut tell)
        };
        progress.finish();
        if self.stopped.json {
            print_json(&report)?;
        } else {
            print_text(&report)?;
        }
        match exit_code(&report) {
            exit::DONE => Ok(()),
            exit_code => Err(StartError::Reported { exit_code }),
        }
    }
}

fn exit_code(report: &VerifyReport) -> u8 {
    if report.first_corruption().is_some() {
        exit::CORRUPT
    } else if report.first_unchecked().is_some() {
        exit::FAILED
    } else {
        exit::DONE
    }
}

fn print_text(report: &VerifyReport) -> Result<(), StartError> {
    for finding in &report.findings {
        print(format_args!("{}\n", FindingText(finding)))?;
    }
    if report.findings_omitted > 0 {
        print(format_args!("{} more findings\n", report.findings_omitted))?;
    }
    let count = |class| report.findings.iter().filter(|finding| finding.class == class).count();
    let classes = [
        FindingClass::Damage,
        FindingClass::Redundant,
        FindingClass::Diverged,
        FindingClass::TornTail,
        FindingClass::Unchecked,
    ];
    let counts = classes.map(|class| (class.as_str(), count(class)));
    let told: Vec<_> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    let verdict = if told.is_empty() { "clean".to_owned() } else { told.join(", ") };
    print(format_args!("{} files, {} bytes checked: {verdict}\n", report.files, report.bytes))
}
