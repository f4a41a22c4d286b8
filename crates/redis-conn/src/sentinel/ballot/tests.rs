//! Votes, alarms and ties.

use super::*;

fn node(port: u16) -> Arc<Endpoint> {
    Arc::new(Endpoint::tcp("10.0.0.1", port))
}

fn vote(port: u16, epoch: impl Into<Option<u64>>) -> Option<Vote> {
    Some(Vote { master: node(port), epoch: epoch.into() })
}

/// A ballot of sentinels a, b and c, who all name the node at port 1, which was chosen.
fn agreed(now: Instant) -> Ballot {
    let mut ballot = Ballot::default();
    for name in ["a", "b", "c"] {
        ballot.enrol(name);
        ballot.vote(name, vote(1, 1), now);
    }
    assert_eq!(ballot.choose(now, now), Choice::Master(node(1)));
    ballot
}

#[test]
fn the_first_choice_waits_for_a_majority_of_the_known_sentinels() {
    let (now, mut ballot) = (Instant::now(), Ballot::default());
    let patience = now + Duration::from_secs(1);
    ["a", "b", "c"].iter().for_each(|name| ballot.enrol(name));
    assert_eq!(ballot.choose(patience, now), Choice::Undecided(patience));
    ballot.vote("a", vote(9, 99), now);
    assert_eq!(ballot.choose(patience, now), Choice::Undecided(patience), "one of three decides nothing");
    ballot.vote("b", vote(1, 1), now);
    assert_eq!(ballot.choose(patience, now), Choice::Undecided(patience));
    ballot.vote("c", vote(1, 1), now);
    assert_eq!(ballot.choose(patience, now), Choice::Master(node(1)), "two outvote the highest epoch");
}

#[test]
fn when_all_others_failed_the_one_that_answers_decides() {
    let (now, mut ballot) = (Instant::now(), Ballot::default());
    let patience = now + Duration::from_secs(1);
    ["a", "b", "c"].iter().for_each(|name| ballot.enrol(name));
    ballot.lost("a");
    ballot.lost("b");
    assert_eq!(ballot.choose(patience, now), Choice::Undecided(patience));
    ballot.vote("c", vote(1, None), now);
    assert_eq!(ballot.choose(patience, now), Choice::Master(node(1)));
}

#[test]
fn a_sentinel_that_hangs_is_waited_for_no_longer_than_patience() {
    let (now, mut ballot) = (Instant::now(), Ballot::default());
    let patience = now + Duration::from_secs(1);
    ["a", "b"].iter().for_each(|name| ballot.enrol(name));
    ballot.vote("a", vote(1, None), now);
    assert_eq!(ballot.choose(patience, now), Choice::Undecided(patience));
    assert_eq!(ballot.choose(patience, patience), Choice::Master(node(1)));
}

#[test]
fn nobody_knowing_the_service_is_no_master() {
    let (now, mut ballot) = (Instant::now(), Ballot::default());
    ballot.enrol("a");
    ballot.vote("a", None, now);
    assert_eq!(ballot.choose(now, now), Choice::Unknown);
}

#[test]
fn the_first_sentinel_to_move_the_master_makes_us_leave_and_the_second_says_where_to() {
    let now = Instant::now();
    let mut ballot = agreed(now);
    assert_eq!(ballot.vote("a", vote(2, None), now), Effect::Leave);
    assert_eq!(ballot.choose(now, now), Choice::Undecided(now + ALARM));
    ballot.vote("b", vote(2, 2), now);
    assert_eq!(ballot.choose(now, now), Choice::Master(node(2)));
    assert_eq!(ballot.vote("c", vote(1, 1), now), Effect::Keep, "a sentinel that lags does not take us back");
    assert_eq!(ballot.choose(now, now), Choice::Master(node(2)));
}

#[test]
fn a_move_that_nobody_joins_is_a_false_alarm_and_the_next_one_of_that_sentinel_is_ignored() {
    let now = Instant::now();
    let mut ballot = agreed(now);
    assert_eq!(ballot.vote("a", vote(2, 9), now), Effect::Leave);
    let later = now + ALARM;
    assert_eq!(ballot.choose(later, later), Choice::Master(node(1)));
    ballot.vote("a", vote(1, 1), later);
    assert_eq!(ballot.vote("a", vote(2, 9), later), Effect::Keep);
    assert_eq!(ballot.choose(later, later), Choice::Master(node(1)));
}

#[test]
fn a_liar_never_takes_us_anywhere_against_the_others() {
    let (now, mut ballot) = (Instant::now(), Ballot::default());
    ballot.vote("liar", vote(9, 99), now);
    ballot.vote("b", vote(1, 1), now);
    ballot.vote("c", vote(1, 1), now);
    assert_eq!(ballot.choose(now, now), Choice::Master(node(1)));
    assert_eq!(ballot.vote("liar", vote(9, 100), now), Effect::Keep);
    ballot.lost("b");
    ballot.lost("c");
    ballot.reject(node(1), now);
    assert_eq!(ballot.vote("liar", vote(9, 101), now), Effect::Keep, "votes of the lost ones still count");
    assert_eq!(ballot.choose(now, now), Choice::Master(node(1)));
}

#[test]
fn an_older_configuration_raises_no_alarm() {
    let now = Instant::now();
    let mut ballot = agreed(now);
    assert_eq!(ballot.vote("a", vote(2, 0), now), Effect::Keep, "restored from an old file");
    assert_eq!(ballot.choose(now, now), Choice::Master(node(1)));
}

#[test]
fn a_majority_that_never_named_our_master_moves_us_without_an_alarm() {
    let (now, mut ballot) = (Instant::now(), Ballot::default());
    ballot.vote("a", vote(1, 1), now);
    assert_eq!(ballot.choose(now, now), Choice::Master(node(1)));
    assert_eq!(ballot.vote("b", vote(2, 2), now), Effect::Keep);
    assert_eq!(ballot.vote("c", vote(2, 2), now), Effect::Leave);
    assert_eq!(ballot.choose(now, now), Choice::Master(node(2)));
}

#[test]
fn the_latest_configuration_decides_a_tie() {
    let (now, mut ballot) = (Instant::now(), Ballot::default());
    ballot.vote("stale", vote(1, 3), now);
    ballot.vote("b", vote(2, 4), now);
    assert_eq!(ballot.choose(now, now), Choice::Master(node(2)));
}

#[test]
fn a_node_that_is_no_master_loses_a_tie() {
    let (now, mut ballot) = (Instant::now(), Ballot::default());
    ballot.vote("a", vote(1, None), now);
    ballot.vote("b", vote(2, None), now);
    let Choice::Master(first) = ballot.choose(now, now) else { panic!("both have been heard") };
    ballot.reject(Arc::clone(&first), now);
    let Choice::Master(second) = ballot.choose(now, now) else { panic!("both have been heard") };
    assert_ne!(first, second);
}

#[test]
fn sentinels_that_died_with_the_master_do_not_hold_us_back() {
    let now = Instant::now();
    let mut ballot = agreed(now);
    ballot.vote("d", vote(1, 1), now);
    ballot.vote("e", vote(1, 1), now);
    ballot.lost("a");
    ballot.lost("b");
    assert_eq!(ballot.vote("c", vote(2, 2), now), Effect::Leave);
    ballot.vote("d", vote(2, 2), now);
    assert_eq!(ballot.choose(now, now), Choice::Master(node(2)), "two of the three that answer");
    assert_eq!(ballot.choose(now, now), Choice::Master(node(2)), "and it stays so");
}

#[test]
fn with_all_sentinels_lost_the_master_stays() {
    let now = Instant::now();
    let mut ballot = agreed(now);
    ["a", "b", "c"].iter().for_each(|name| ballot.lost(name));
    let much_later = now + Duration::from_secs(3600);
    assert_eq!(ballot.choose(now, much_later), Choice::Master(node(1)));
}
