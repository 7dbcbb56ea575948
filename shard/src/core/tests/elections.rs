use quorate_storage::ReplicaId;

use super::cluster::{Cluster, Outcome};
use crate::core::Input;
use crate::error::Error;

#[test]
fn a_leader_is_elected_within_two_election_timeouts_of_ticks() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(3, seed);
        cluster.ticks(45);
        assert!(cluster.leader().is_some(), "seed {seed}");
    }
}

#[test]
fn a_single_voter_leads_at_once_when_told_to_campaign() {
    let mut cluster = Cluster::new(1, 1);
    cluster.feed(ReplicaId(1), vec![Input::Campaign]);
    cluster.settle();
    assert!(cluster.core(1).role().is_serving);
}

#[test]
fn leadership_moves_when_the_leader_is_cut_off_and_the_old_one_steps_down() {
    let mut cluster = Cluster::new(3, 2);
    let old = cluster.elect();
    cluster.cut = vec![old];
    let new = cluster.elect();
    assert_ne!(old, new);
    cluster.ticks(40);
    assert!(!cluster.core(old.get()).role().is_leader, "check quorum");
    cluster.cut.clear();
    cluster.ticks(40);
    assert_eq!(
        cluster.core(old.get()).role().leader,
        Some(new),
        "pre-vote: the returning one disturbs nobody"
    );
}

#[test]
fn leadership_is_handed_over_on_request_and_only_to_a_voter_that_is_close_behind() {
    let mut cluster = Cluster::new(3, 3);
    let old = cluster.elect();
    let to = cluster.ids().into_iter().find(|id| *id != old).unwrap();
    let ticket = cluster.ticket();
    cluster.feed(old, vec![Input::Transfer { ticket, to }]);
    cluster.settle();
    assert!(matches!(cluster.outcomes[&ticket], Outcome::Done), "{:?}", cluster.outcomes[&ticket]);
    assert!(cluster.core(to.get()).role().is_leader);

    let ticket = cluster.ticket();
    cluster.feed(to, vec![Input::Transfer { ticket, to: ReplicaId(9) }]);
    assert!(matches!(cluster.outcomes[&ticket], Outcome::Failed(Error::ConfChangeRefused(_))));

    cluster.cut = vec![old];
    cluster.ticks(25);
    let ticket = cluster.ticket();
    cluster.feed(to, vec![Input::Transfer { ticket, to: old }]);
    assert!(matches!(cluster.outcomes[&ticket], Outcome::Failed(Error::Lagging { .. })));
}

#[test]
fn election_timeouts_depend_on_nothing_but_the_seed() {
    let run = |seed| {
        let mut cluster = Cluster::new(3, seed);
        let leader = cluster.elect();
        cluster.propose(leader);
        cluster.settle();
        cluster.cut = vec![leader];
        cluster.elect();
        cluster.trace
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
