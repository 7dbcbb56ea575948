//! Many operations on any keys, each with an end of its own.

use std::time::Duration;

use futures_util::future::join_all;
use quorate_shard::router::Target;
use quorate_storage::kv::{KvCommand, KvOutcome, Op, OpResult};

use super::Kv;
use super::plan::{Part, steps};
use crate::error::{Error, Result};

/// An outcome that is not that of the command.
const OTHER_COUNT: quorate_storage::Error =
    quorate_storage::Error::Malformed { what: "key-value outcome: not one result for each operation" };

/// What became of operations, by their place.
type Ended = Vec<(usize, Result<OpResult>)>;

impl Kv {
    /// Operations on any keys, in parallel over groups. Those for one group go in as few entries as they fit into;
    /// operations on one key take effect in the order given.
    pub(crate) async fn write_each(&self, ops: &[Op], timeout: Duration) -> Vec<Result<OpResult>> {
        let deadline = self.clock.monotonic() + timeout;
        // One that no group would take must not fail those it would travel with.
        let checked = ops.iter().map(|op| op.check().map_err(quorate_shard::Error::Invalid));
        let mut results: Vec<Result<OpResult>> =
            checked.map(|checked| checked.map_err(Error::from).and(Err(Error::NoRoute))).collect();
        let (by_group, _) = self.by_group(ops.iter().map(Op::key));
        let groups = by_group.into_values().map(|mut places| {
            places.retain(|&at| matches!(results[at], Err(Error::NoRoute)));
            self.write_group(ops, places, deadline)
        });
        for (at, result) in join_all(groups).await.into_iter().flatten() {
            results[at] = result;
        }
        results
    }

    /// The operations at `places`, which belong to one group. When an entry fails, what would follow in later
    /// steps is not tried any more and ends with the same error: it must not overtake an entry of which nobody
    /// knows whether it is still under way.
    async fn write_group(&self, ops: &[Op], places: Vec<usize>, deadline: Duration) -> Ended {
        let mut ended = Vec::with_capacity(places.len());
        let mut failure = None;
        for step in steps(ops, &places) {
            if let Some(error) = &failure {
                let failed = |part: Part| part.places.into_iter().map(|at| (at, Err(Error::clone(error))));
                ended.extend(step.into_iter().flat_map(failed));
                continue;
            }
            for (part, outcome) in
                join_all(step.into_iter().map(|part| self.write_part(ops, part, deadline))).await
            {
                match outcome {
                    Ok(results) => ended.extend(part.places.into_iter().zip(results.into_iter().map(Ok))),
                    Err(error) => {
                        ended.extend(part.places.into_iter().map(|at| (at, Err(error.clone()))));
                        failure = Some(error);
                    }
                }
            }
        }
        ended
    }

    async fn write_part(&self, ops: &[Op], part: Part, deadline: Duration) -> (Part, Result<Vec<OpResult>>) {
        let command = KvCommand {
            conditions: Vec::new(),
            ops: part.places.iter().map(|&at| ops[at].clone()).collect(),
        };
        let target = Target::Keys(command.ops.iter().map(|op| op.key().clone()).collect());
        let left = deadline.saturating_sub(self.clock.monotonic());
        let results = match self.command(target, &command, left).await {
            Ok(written) => match written.outcome {
                KvOutcome::Applied { results } if results.len() == part.places.len() => Ok(results),
                _ => Err(Error::UnreadableOutcome(OTHER_COUNT)),
            },
            Err(error) => Err(error),
        };
        (part, results)
    }
}
