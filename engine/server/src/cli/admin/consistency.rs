//! `quorate admin consistency`: the states of replicas, compared.

use std::fmt;
use std::io::{self, Write as _};

use clap::Args;
use serde_json::{Value, json};

use super::{Target, Waiting, failed, parse};
use crate::cli::print;
use crate::cli::stopped::print_json;
use crate::exit::{self, StartError};
use crate::operator::{Consistency, NodeStatus, ReplicaState};

#[derive(Debug, Args)]
pub(super) struct ConsistencyArgs {
    /// The group. Without it, every group that has a replica on the node.
    group: Option<u64>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    waiting: Waiting,
}

impl ConsistencyArgs {
    /// Asks for one group after the other, and goes on after one that cannot be asked.
    pub(super) fn run(self) -> Result<(), StartError> {
        let groups = match self.group {
            Some(group) => vec![group],
            None => self.groups()?,
        };
        let (mut answers, mut first_failure) = (Vec::new(), None);
        let mut is_violated = false;
        for group in groups {
            match self.ask(group) {
                Ok((answer, compared)) => {
                    is_violated |= compared.is_violated();
                    if !self.target.json {
                        print(format_args!("{}", Text(&compared)))?;
                    }
                    answers.push(answer);
                }
                Err(error) => {
                    let _ = writeln!(io::stderr(), "quorate: group {group}: {error}");
                    first_failure.get_or_insert(exit::FAILED);
                }
            }
        }
        if self.target.json {
            let document = match (self.group, answers.pop()) {
                (Some(_), Some(only)) => only,
                (Some(_), None) => return Err(StartError::Reported { exit_code: exit::FAILED }),
                (None, last) => json!({ "groups": answers.into_iter().chain(last).collect::<Vec<_>>() }),
            };
            print_json(&document)?;
        }
        match first_failure {
            _ if is_violated => Err(StartError::Reported { exit_code: exit::CORRUPT }),
            Some(exit_code) => Err(StartError::Reported { exit_code }),
            None => Ok(()),
        }
    }

    fn groups(&self) -> Result<Vec<u64>, StartError> {
        let answer = self.target.client()?.get("/status").map_err(failed)?;
        let status: NodeStatus = parse(&self.target, answer)?;
        Ok(status.groups.iter().map(|line| line.group).collect())
    }

    fn ask(&self, group: u64) -> Result<(Value, Consistency), StartError> {
        let client = self.target.client()?;
        let path = format!("/groups/{group}/consistency");
        let answer = self.waiting.ask(&client, &path, || format!("group {group}: comparing"))?;
        let compared = parse(&self.target, answer.clone())?;
        Ok((answer, compared))
    }
}

/// [`Consistency`] for people.
struct Text<'a>(&'a Consistency);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Consistency { group, index, verdict, replicas, divergent_replicas, .. } = self.0;
        writeln!(f, "group {group}: {verdict} at {index}")?;
        for part in replicas {
            let ReplicaState { replica, node, answer, .. } = part;
            let said = match (&part.digest, part.applied_index) {
                (Some(digest), _) => digest.clone(),
                (None, Some(applied)) => format!("{answer}, at {applied}"),
                (None, None) => answer.clone(),
            };
            let wrong = if divergent_replicas.contains(replica) { "  wrong: quarantined" } else { "" };
            let role = if part.is_voter { "voter" } else { "learner" };
            writeln!(f, "  replica {replica} on node {node}, {role}: {said}{wrong}")?;
        }
        Ok(())
    }
}
