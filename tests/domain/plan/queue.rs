//! Which connection is looked at next: by deadline, and fair between servers.

use std::{collections::BTreeMap, time::Duration};

use pleo_operator::domain::{
    governor::{ServerState, Shown},
    queue::{Key, Lane, MOST_IN_FLIGHT, Next, Queue, Turn},
    spec::{AllowedServers, ResolvedSpec, TokenUrl},
};
use proptest::prelude::*;
use serde_json::json;

fn key(name: &str) -> Key {
    ("finance".into(), name.into())
}

fn server(number: usize) -> TokenUrl {
    token_url(&format!("https://auth-{number}.example.com/token"))
}

fn token_url(url: &str) -> TokenUrl {
    let connection = json!({
        "metadata": {"name": "acme", "namespace": "finance"},
        "spec": {"client": {"secretRef": {"name": "c"}}, "server": {"tokenURL": url}},
    });
    let spec = ResolvedSpec::read(&serde_json::from_value(connection).unwrap(), &AllowedServers::every());
    spec.token_url().unwrap().clone()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn turn(number: usize, deadline: u64) -> Turn {
    Turn { lane: Lane::Server(server(number)), deadline: at(deadline), is_in_doubt: false }
}

/// A connection that waits for room at a server.
fn wait(queue: &mut Queue, name: &str, turn: Turn) {
    queue.offer(&key(name), at(0));
    assert_eq!(queue.pop(at(0)).unwrap().0, key(name));
    queue.finish(&key(name), Next { waits: Some(turn), later: None });
}

fn pop(queue: &mut Queue, now: u64) -> Option<String> {
    queue.pop(at(now)).map(|(key, _)| key.1)
}

#[test]
fn the_earliest_deadline_comes_first_whichever_came_first() {
    let mut queue = Queue::new(5);
    queue.offer(&key("late"), at(30));
    queue.offer(&key("early"), at(10));
    queue.offer(&key("as-early"), at(10));
    let order = [pop(&mut queue, 0), pop(&mut queue, 0), pop(&mut queue, 0), pop(&mut queue, 0)];
    assert_eq!(order.map(Option::unwrap_or_default), ["early", "as-early", "late", ""]);
}

#[test]
fn a_deadline_is_never_moved_back() {
    let mut queue = Queue::new(5);
    queue.offer(&key("acme"), at(10));
    queue.offer(&key("acme"), at(90));
    queue.offer(&key("beta"), at(20));
    assert_eq!(pop(&mut queue, 0).as_deref(), Some("acme"));
}

#[test]
fn what_changes_during_the_work_has_the_connection_looked_at_again() {
    let mut queue = Queue::new(5);
    queue.offer(&key("acme"), at(0));
    assert_eq!(pop(&mut queue, 0).as_deref(), Some("acme"));
    queue.offer(&key("acme"), at(5));
    assert_eq!(pop(&mut queue, 0), None, "not while it is at work");
    queue.finish(&key("acme"), Next { waits: Some(turn(1, 3)), later: None });
    let (_, looked) = queue.pop(at(0)).unwrap();
    assert_eq!(looked, Turn::look(at(3)), "a look shows whether it is still that server");
}

#[test]
fn a_timer_is_due_at_its_time_and_a_change_comes_before_it() {
    let mut queue = Queue::new(5);
    for name in ["acme", "beta"] {
        queue.offer(&key(name), at(0));
        pop(&mut queue, 0);
        queue.finish(&key(name), Next { waits: None, later: Some((at(100), turn(1, 130))) });
    }
    assert_eq!((pop(&mut queue, 99), queue.wakes_at(at(99))), (None, Some(at(100))));
    queue.offer(&key("beta"), at(99));
    assert_eq!(pop(&mut queue, 99).as_deref(), Some("beta"));
    assert_eq!(queue.pop(at(100)), Some((key("acme"), turn(1, 130))));
    assert_eq!(queue.wakes_at(at(0)), None, "what was looked at makes a new plan");
}

/// As many as this server gets at once.
fn fill(queue: &mut Queue, number: usize) -> usize {
    std::iter::from_fn(|| queue.enter(&server(number), at(0), false, at(0)).then_some(())).count()
}

#[test]
fn a_server_without_room_keeps_no_other_waiting() {
    let mut queue = Queue::new(5);
    assert_eq!(fill(&mut queue, 1), 16);
    wait(&mut queue, "behind", turn(1, 1));
    wait(&mut queue, "elsewhere", turn(2, 50));
    assert_eq!(pop(&mut queue, 0).as_deref(), Some("elsewhere"));
    assert_eq!(pop(&mut queue, 0), None);
    queue.leave(&server(1));
    assert_eq!(pop(&mut queue, 0).as_deref(), Some("behind"));
}

#[test]
fn what_users_ask_for_has_half_of_all_requests_at_one_server_and_no_more() {
    let mut queue = Queue::new(5);
    let asked = std::iter::from_fn(|| queue.enter(&server(1), at(0), true, at(0)).then_some(())).count();
    assert_eq!(asked, MOST_IN_FLIGHT / 2);
    assert!(queue.enter(&server(2), at(0), false, at(0)));
}

#[test]
fn none_that_comes_later_enters_before_those_that_wait() {
    let mut queue = Queue::new(5);
    fill(&mut queue, 1);
    wait(&mut queue, "first", turn(1, 10));
    queue.leave(&server(1));
    assert!(!queue.enter(&server(1), at(10), false, at(0)));
    assert!(queue.enter(&server(1), at(9), false, at(0)), "but for an earlier deadline");
}

#[test]
fn a_server_that_does_not_answer_is_probed_with_a_token_that_is_in_doubt_already() {
    let mut queue = Queue::new(5);
    for connection in 0..5 {
        queue.note(&server(1), &format!("uid-{connection}"), Shown::Unanswered, at(0));
    }
    wait(&mut queue, "sound", turn(1, 10));
    wait(&mut queue, "in-doubt", Turn { is_in_doubt: true, ..turn(1, 90) });
    assert_eq!((pop(&mut queue, 30), queue.wakes_at(at(30))), (None, Some(at(31))));
    assert_eq!(pop(&mut queue, 31).as_deref(), Some("in-doubt"));
    assert_eq!(pop(&mut queue, 31), None);
}

#[test]
fn a_server_that_rejects_is_probed_with_a_token_that_is_not_in_doubt() {
    let mut queue = Queue::new(5);
    for connection in 0..6 {
        queue.note(&server(1), &format!("uid-{connection}"), Shown::Rejected, at(0));
    }
    wait(&mut queue, "in-doubt", Turn { is_in_doubt: true, ..turn(1, 10) });
    wait(&mut queue, "sound", turn(1, 90));
    assert_eq!((pop(&mut queue, 59), pop(&mut queue, 60).as_deref()), (None, Some("sound")));
}

#[test]
fn a_server_that_no_connection_waits_for_is_shown_as_healthy_ten_minutes_after_its_last_rejection() {
    let mut queue = Queue::new(5);
    for connection in 0..6 {
        queue.note(&server(1), &format!("uid-{connection}"), Shown::Rejected, at(0));
    }
    let shown = |queue: &Queue, now| queue.servers(at(now)).remove(0);
    assert_eq!((shown(&queue, 599).state, shown(&queue, 599).rejected), (ServerState::Refusing, 6));
    assert_eq!((shown(&queue, 600).state, shown(&queue, 600).rejected), (ServerState::Healthy, 0));
    wait(&mut queue, "acme", turn(1, 10));
    assert_eq!((shown(&queue, 600).state, shown(&queue, 600).held), (ServerState::Refusing, 1));
}

/// I5: a query may hold a key. Servers that differ in nothing else are one in logs and metrics, where the worst counts.
#[test]
fn the_query_of_a_token_url_is_not_shown() {
    let (mut queue, keyed) = (Queue::new(5), |key| token_url(&format!("https://auth.example.com/token?key={key}")));
    queue.note(&keyed("secret-1"), "uid-1", Shown::Success, at(0));
    for connection in 0..5 {
        queue.note(&keyed("secret-2"), &format!("uid-{connection}"), Shown::Unanswered, at(0));
    }
    let shown = queue.servers(at(0));
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].server.as_str(), shown[0].state), ("https://auth.example.com/token", ServerState::Failing));
}

#[test]
fn a_term_that_begins_finds_nothing_but_what_is_at_work() {
    let mut queue = Queue::new(5);
    for name in ["acme", "beta", "gamma"] {
        queue.offer(&key(name), at(0));
    }
    pop(&mut queue, 0);
    queue.clear();
    assert_eq!(pop(&mut queue, 0), None);
    queue.offer(&key("acme"), at(0));
    assert_eq!(pop(&mut queue, 0), None, "one look at a time, across terms");
    queue.finish(&key("acme"), Next::default());
    assert_eq!(pop(&mut queue, 0).as_deref(), Some("acme"));
}

/// What happens to a queue.
#[derive(Clone, Debug)]
enum Event {
    Offer(u8, u64),
    /// The next one is taken.
    Pop,
    /// The oldest work ends: with a wait for a server, or for a time.
    Finish(Option<(usize, u64)>, Option<(u64, usize)>),
    /// The oldest request of this server ends.
    Leave(usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let deadline = 0..100_u64;
    prop_oneof![
        (0..8_u8, deadline.clone()).prop_map(|(key, deadline)| Event::Offer(key, deadline)),
        Just(Event::Pop),
        (proptest::option::of((0..3_usize, deadline)), proptest::option::of((0..50_u64, 0..3_usize)))
            .prop_map(|(waits, later)| Event::Finish(waits, later)),
        (0..3_usize).prop_map(Event::Leave),
        (0..20_u64).prop_map(Event::Pass),
    ]
}

proptest! {
    /// Fairness: whoever is taken has the earliest deadline of all that wait and whose server has room. None is lost, none is at work twice.
    #[test]
    fn a_connection_that_waits_is_overtaken_by_earlier_deadlines_only(events in proptest::collection::vec(event(), 1..80)) {
        let servers: Vec<TokenUrl> = (0..3).map(server).collect();
        let (mut queue, mut now) = (Queue::new(5), 0);
        // By connection: the turn that it waits for, and from when on.
        let mut waiting: BTreeMap<Key, Turn> = BTreeMap::new();
        let mut timers: BTreeMap<Key, (Duration, Turn)> = BTreeMap::new();
        let mut at_work: Vec<(Key, Option<Duration>)> = Vec::new();
        let put = |waiting: &mut BTreeMap<Key, Turn>, key: &Key, turn: Turn| {
            let before = waiting.get(key).cloned().unwrap_or_else(|| turn.clone());
            waiting.insert(key.clone(), Turn { lane: before.lane.min(turn.lane), deadline: before.deadline.min(turn.deadline), is_in_doubt: false });
        };
        for event in events {
            match event {
                Event::Offer(number, deadline) => {
                    let key = key(&number.to_string());
                    queue.offer(&key, at(deadline));
                    match at_work.iter_mut().find(|(busy, _)| *busy == key) {
                        Some((_, again)) => *again = Some(again.unwrap_or(at(deadline)).min(at(deadline))),
                        None => put(&mut waiting, &key, Turn::look(at(deadline))),
                    }
                }
                Event::Pop => {
                    // Those that wait for a server are looked at if they have no turn in time.
                    let due: Vec<_> = timers.extract_if(.., |_, (due, _)| *due <= at(now)).collect();
                    for (key, (_, turn)) in due {
                        if turn.lane != Lane::Look {
                            let late = turn.deadline.max(at(now + 1));
                            timers.insert(key.clone(), (late, Turn::look(late)));
                        }
                        put(&mut waiting, &key, turn);
                    }
                    let popped = queue.pop(at(now));
                    let earliest = waiting.values().map(|turn| turn.deadline).min();
                    prop_assert_eq!(popped.as_ref().map(|(_, turn)| turn.deadline), earliest);
                    if let Some((key, turn)) = popped {
                        prop_assert_eq!(waiting.remove(&key), Some(turn));
                        prop_assert!(at_work.iter().all(|(busy, _)| *busy != key));
                        timers.remove(&key);
                        at_work.push((key, None));
                    }
                }
                Event::Finish(waits, later) if !at_work.is_empty() => {
                    let (key, again) = at_work.remove(0);
                    let turn = |number: usize, deadline| Turn { lane: Lane::Server(servers[number].clone()), deadline, is_in_doubt: false };
                    let waits = waits.map(|(number, deadline)| turn(number, at(deadline)));
                    let later = later.map(|(wait, number)| (at(now + wait), turn(number, at(now + wait))));
                    queue.finish(&key, Next { waits: waits.clone(), later: later.clone() });
                    waits.into_iter().for_each(|turn| put(&mut waiting, &key, turn));
                    again.into_iter().for_each(|deadline| put(&mut waiting, &key, Turn::look(deadline)));
                    later.into_iter().for_each(|later| drop(timers.insert(key.clone(), later)));
                }
                Event::Finish(..) => {}
                Event::Leave(number) => queue.leave(&servers[number]),
                Event::Pass(seconds) => now += seconds,
            }
        }
    }
}
