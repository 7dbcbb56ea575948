//! The child that opens the node after a cut and compares it with what the parent knows.

use std::io::{BufRead as _, Write as _};

use quorate::ReadLevel;

use super::value::{key, number};
use super::{ChildArgs, Error, io, node};

/// Opens the node, reads `KEY ALLOWED...` lines, and answers each with `found KEY NUMBER`, `absent KEY` or
/// `violation KEY ...`. `-` among the allowed stands for an absent key.
///
/// # Errors
/// The node does not open or does not answer.
pub async fn check(args: ChildArgs) -> Result<(), Error> {
    let node = node::open(&args).await?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(io("cannot read from the parent"))?;
        let mut words = line.split(' ');
        let wanted = words.next().and_then(|word| word.parse::<u64>().ok());
        let Some(wanted) = wanted else { return Err(Error::Protocol { line }) };
        let allowed: Vec<&str> = words.collect();
        let value = node.get(key(wanted), ReadLevel::Linearizable).await?;
        let found = match &value {
            None => "-".to_owned(),
            Some(value) => number(value).map_or_else(|| "damaged".to_owned(), |number| number.to_string()),
        };
        let verdict = if !allowed.contains(&found.as_str()) {
            format!("violation {wanted} found {found}, allowed {}\n", allowed.join(" "))
        } else if value.is_none() {
            format!("absent {wanted}\n")
        } else {
            format!("found {wanted} {found}\n")
        };
        out.write_all(verdict.as_bytes()).map_err(io("cannot write to the parent"))?;
    }
    out.write_all(b"checked\n").and_then(|()| out.flush()).map_err(io("cannot write to the parent"))?;
    // Killed by the parent like everything here: a clean stop would hide what only an unclean one shows.
    Ok(())
}
