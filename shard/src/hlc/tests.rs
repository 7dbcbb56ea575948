//! The clock against a model that keeps everything and computes nothing in advance; and its edges.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use quorate_storage::Index;
use quorate_telemetry::{BootId, SimClock};

use super::*;

const WINDOW: Duration = Duration::from_secs(3);
const NOON: Duration = Duration::from_secs(1_000_000);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A leader with a lease, from an inherited ceiling of 0.
fn leased(wall: Duration) -> Hlc {
    let mut hlc = Hlc::above(Timestamp(0));
    hlc.grant(hlc.lease(wall, WINDOW));
    hlc
}

#[test]
fn nothing_is_given_before_the_first_lease_or_at_the_ceiling() {
    let mut hlc = Hlc::above(Timestamp::of_wall(NOON));
    assert_eq!(hlc.issue(NOON), Err(Refused::NoCeiling));
    let ceiling = hlc.lease(NOON, WINDOW);
    assert_eq!(ceiling, Timestamp::of_wall(NOON + WINDOW));
    hlc.grant(ceiling);
    assert_eq!(hlc.issue(NOON + WINDOW), Err(Refused::Expired { ceiling }));
    let just_below = NOON + ms(2_999);
    assert_eq!(hlc.issue(just_below), Ok(Timestamp::of_wall(just_below)));
}

#[test]
fn a_lower_lease_takes_nothing_back() {
    let mut hlc = leased(NOON);
    hlc.grant(Timestamp(5));
    assert_eq!(hlc.ceiling(), Some(Timestamp::of_wall(NOON + WINDOW)));
}

#[test]
fn a_frozen_clock_carries_the_counter_into_the_milliseconds() {
    let mut hlc = leased(NOON);
    let first = hlc.issue(NOON).unwrap();
    for nth in 1..200_000 {
        assert_eq!(hlc.issue(NOON), Ok(Timestamp(first.get() + nth)));
    }
    assert_eq!(hlc.issue(NOON).unwrap().millis(), first.millis() + 3);
}

#[test]
fn a_successor_goes_on_above_the_ceiling_it_inherits_however_late_its_clock() {
    let inherited = Timestamp::of_wall(NOON + WINDOW);
    let mut hlc = Hlc::above(inherited);
    let late = NOON.saturating_sub(ms(60_000));
    let ceiling = hlc.lease(late, WINDOW);
    assert_eq!(ceiling, Timestamp::of_wall(NOON + WINDOW * 2), "one window above what it inherits, no more");
    hlc.grant(ceiling);
    assert_eq!(hlc.issue(late), Ok(Timestamp(inherited.get() + 1)));
}

#[test]
fn a_remote_timestamp_is_merged_within_the_ceiling_and_half_a_second() {
    let mut hlc = leased(NOON);
    let remote = Timestamp(Timestamp::of_wall(NOON + ms(500)).get() + 7);
    hlc.observe(remote, NOON).unwrap();
    assert_eq!(hlc.issue(NOON), Ok(Timestamp(remote.get() + 1)));
    let far = Timestamp::of_wall(NOON + ms(501));
    assert_eq!(hlc.observe(far, NOON), Err(Refused::Ahead { by: ms(501) }));
    // Where the clock says it is time for it, but the lease does not reach.
    let late = NOON + ms(2_900);
    let beyond = Timestamp::of_wall(NOON + WINDOW);
    assert_eq!(hlc.observe(beyond, late), Err(Refused::Expired { ceiling: beyond }));
    assert_eq!(hlc.issue(NOON), Ok(Timestamp(remote.get() + 2)), "what was refused left no trace");
    assert_eq!(hlc.observe(Timestamp(3), NOON), Ok(()), "what is past already");
    assert_eq!(Hlc::above(Timestamp(0)).observe(beyond, late), Err(Refused::NoCeiling));
}

#[test]
fn the_end_of_time_is_a_refusal() {
    let mut hlc = Hlc::above(Timestamp(u64::MAX));
    hlc.grant(hlc.lease(Duration::MAX, Duration::MAX));
    assert!(hlc.issue(Duration::MAX).is_err());
    assert!(hlc.issue(Duration::ZERO).is_err());
}

#[test]
fn a_lease_is_asked_for_while_it_is_used_and_lapses_after_that() {
    let config = HlcConfig::default();
    let at = |after| Now { monotonic: ms(after), wall: NOON + ms(after) };
    let mut tenure = Tenure::begin(Timestamp(0));
    assert_eq!(tenure.wanted(&config, at(0), false), None, "nobody asked");
    tenure.issue(at(0)).unwrap_err();
    let ceiling = tenure.wanted(&config, at(0), true).unwrap();
    let ticket = crate::core::Ticket(1);
    tenure.proposed(ticket, ceiling);
    assert_eq!(tenure.wanted(&config, at(0), true), None, "one is on its way");
    tenure.committed(crate::core::Ticket(9), Index(3));
    tenure.committed(ticket, Index(7));
    assert!(!tenure.applied(Index(6)));
    assert!(tenure.applied(Index(7)));
    tenure.issue(at(100)).unwrap();
    assert_eq!(tenure.wanted(&config, at(1_400), false), None, "half of it is left");
    assert_eq!(tenure.wanted(&config, at(1_600), false), Some(Timestamp::of_wall(at(4_600).wall)));
    assert_eq!(tenure.wanted(&config, at(3_200), false), None, "unused for a window");
    let always = HlcConfig { renew: Renew::Always, ..config };
    assert!(tenure.wanted(&always, at(3_200), false).is_some());
    assert!(Tenure::begin(Timestamp(0)).wanted(&always, at(0), false).is_some());
}

#[test]
fn a_lease_that_failed_is_asked_for_again() {
    let config = HlcConfig::default();
    let now = Now { monotonic: ms(0), wall: NOON };
    let mut tenure = Tenure::begin(Timestamp(0));
    tenure.proposed(crate::core::Ticket(1), Timestamp(9));
    assert!(!tenure.failed(crate::core::Ticket(2)));
    assert!(tenure.failed(crate::core::Ticket(1)));
    assert!(tenure.wanted(&config, now, true).is_some());
    assert!(!tenure.applied(Index(u64::MAX)), "it never came into the log");
}

/// What happens to the clocks of a group. Leaders are numbered by term; clocks show milliseconds.
#[derive(Clone, Debug)]
enum Act {
    Elect,
    /// Of the newest leader: only its leases commit.
    Lease(u64),
    Issue {
        back: usize,
        wall: u64,
    },
    Observe {
        back: usize,
        remote: u64,
        wall: u64,
    },
}

/// Everything one leader ever did.
struct Leader {
    hlc: Hlc,
    inherited: Timestamp,
    granted: Vec<Timestamp>,
    taken: Vec<Timestamp>,
    issued: Vec<Timestamp>,
}

impl Leader {
    /// What the clock must answer, from the whole history.
    fn expected(&self, wall: u64) -> Option<Timestamp> {
        let last = self.taken.iter().copied().fold(self.inherited, Timestamp::max);
        let next = Timestamp((last.get() + 1).max(wall << 16));
        self.granted.iter().any(|ceiling| next < *ceiling).then_some(next)
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let wall = 10_000_u64..20_000;
    let act = prop_oneof![
        1 => Just(Act::Elect),
        3 => wall.clone().prop_map(Act::Lease),
        8 => (0_usize..3, wall.clone()).prop_map(|(back, wall)| Act::Issue { back, wall }),
        3 => (0_usize..3, 9_000_u64..21_000, wall).prop_map(|(back, remote, wall)| Act::Observe { back, remote, wall }),
    ];
    proptest::collection::vec(act, 1..200)
}

proptest! {
    #[test]
    fn timestamps_are_unique_and_ordered_by_term_and_time_whatever_clocks_show(acts in acts()) {
        let mut log = vec![Timestamp(0)];
        let mut leaders: Vec<Leader> = Vec::new();
        for act in acts {
            if leaders.is_empty() || matches!(act, Act::Elect) {
                let inherited = log.iter().copied().max().unwrap();
                let hlc = Hlc::above(inherited);
                leaders.push(Leader { hlc, inherited, granted: vec![], taken: vec![], issued: vec![] });
            }
            let at = |back: usize| leaders.len() - 1 - back.min(leaders.len() - 1);
            match act {
                Act::Elect => {}
                Act::Lease(wall) => {
                    let leader = leaders.last_mut().unwrap();
                    let ceiling = leader.hlc.lease(ms(wall), WINDOW);
                    log.push(ceiling);
                    leader.hlc.grant(ceiling);
                    leader.granted.push(ceiling);
                    prop_assert!(leader.hlc.clone().issue(ms(wall)).is_ok(), "a fresh lease is of use at once");
                }
                Act::Issue { back, wall } => {
                    let at = at(back);
                    let leader = &mut leaders[at];
                    let (expected, given) = (leader.expected(wall), leader.hlc.issue(ms(wall)).ok());
                    prop_assert_eq!(given, expected);
                    leader.taken.extend(given);
                    leader.issued.extend(given);
                }
                Act::Observe { back, remote, wall } => {
                    let at = at(back);
                    let leader = &mut leaders[at];
                    if leader.hlc.observe(Timestamp::of_millis(remote), ms(wall)).is_ok() {
                        leader.taken.push(Timestamp::of_millis(remote));
                    }
                }
            }
        }
        let all: Vec<Timestamp> = leaders.iter().flat_map(|leader| leader.issued.clone()).collect();
        prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "none twice");
        prop_assert!(all.is_sorted(), "by term, and by time within a term");
        // A promise to stay above a remote timestamp outlives the leader that gave it.
        for (at, leader) in leaders.iter().enumerate() {
            let observed = leader.taken.iter().max();
            let later = leaders[at + 1..].iter().filter_map(|leader| leader.issued.first()).min();
            if let (Some(observed), Some(later)) = (observed, later) {
                prop_assert!(observed < later);
            }
        }
    }
}

fn watch() -> (SimClock, ClockWatch) {
    let clock = SimClock::new(NOON, BootId([1; 16]));
    (clock.clone(), ClockWatch::new(Arc::new(clock)))
}

#[tokio::test(start_paused = true)]
async fn one_or_two_clocks_accuse_nobody() {
    let (_, watch) = watch();
    for others in [&[][..], &[3_600_000], &[-3_600_000]] {
        watch.measure(others);
        assert_eq!(watch.check(), Ok(()), "{others:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_three_clocks_the_one_that_two_disagree_with_is_wrong() {
    let (_, watch) = watch();
    for (others, offset_ms) in [
        (&[0, 3_600_000][..], 0),
        (&[-3_600_000, 3_600_000], 0),
        (&[-3_600_000, -3_600_010], 3_600_000),
        (&[501, 700], -501),
        (&[500, 700], -500),
        (&[10, 20, 900], -10),
        (&[-900, -800, 20], 0),
        (&[i64::MIN, i64::MIN], i64::MAX),
    ] {
        watch.measure(others);
        let seen = watch.offset_ms();
        assert!(seen == offset_ms || offset_ms == i64::MAX && seen > i64::MAX / 2, "{others:?}: {seen}");
        assert_eq!(watch.check().is_err(), offset_ms.unsigned_abs() > 500, "{others:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_jump_is_noticed_before_anyone_tells() {
    let (clock, watch) = watch();
    watch.measure(&[0, 0]);
    clock.jump_forward(ms(400));
    assert_eq!((watch.offset_ms(), watch.check()), (400, Ok(())));
    clock.jump_forward(ms(200));
    assert_eq!(watch.check(), Err(600));
    clock.jump_back(ms(7_200_000));
    assert_eq!(watch.check(), Err(600 - 7_200_000));
    clock.set_wall(NOON);
    assert_eq!(watch.check(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_clock_is_wrong_after_half_a_second() {
    let (clock, watch) = watch();
    watch.measure(&[0, 0]);
    clock.set_rate_ppm(0);
    tokio::time::sleep(ms(500)).await;
    assert_eq!(watch.check(), Ok(()));
    tokio::time::sleep(ms(1)).await;
    assert_eq!(watch.check(), Err(-501));
}
