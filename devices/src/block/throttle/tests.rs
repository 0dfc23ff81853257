//! Limits of one disk and of several.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::Direction;
use super::group::{Group, Member};
use super::limits::{Limit, Limits, Measure, VALUE_MAX};
use super::queue::ThrottleQueue;
use super::schedule::Admission;

const SECOND: Duration = Duration::from_secs(1);

fn only(measure: Measure, average: u64, maximum: u64, length: u64) -> Limits {
    let limit = |of| {
        if of == measure {
            Limit {
                average,
                maximum,
                length,
            }
        } else {
            Limit::default()
        }
    };
    Limits::new(limit, 0).unwrap()
}

fn group(limits: Limits, now: Instant) -> Arc<Group> {
    Arc::new(Group::new("group".to_owned(), limits, now))
}

fn join(group: &Arc<Group>) -> (Member, Arc<EventFd>) {
    let wake = Arc::new(EventFd::new(EFD_NONBLOCK).unwrap());
    let member = Member::join(group.clone(), wake.clone());
    (member, wake)
}

/// A disk alone in its group. Its requests are numbers.
fn alone(limits: Limits, now: Instant) -> (ThrottleQueue<u64>, Arc<Group>) {
    let group = group(limits, now);
    let mut queue = ThrottleQueue::default();
    queue.set_member(Some(join(&group).0));
    (queue, group)
}

fn pop_all(queue: &mut ThrottleQueue<u64>, now: Instant) -> Vec<u64> {
    std::iter::from_fn(|| queue.pop(now)).collect()
}

/// Admits each waiting request at the earliest time, and returns when.
fn finish(queue: &mut ThrottleQueue<u64>, mut now: Instant) -> Vec<(u64, Instant)> {
    let mut gone = Vec::new();
    while !queue.is_empty() {
        let due = queue.due().expect("nobody else is in its way");
        now = now.max(due);
        let popped = pop_all(queue, now);
        assert!(!popped.is_empty(), "it was due");
        gone.extend(popped.into_iter().map(|request| (request, now)));
    }
    gone
}

#[test]
fn without_a_group_everything_goes() {
    let mut queue = ThrottleQueue::default();
    let now = Instant::now();
    assert_eq!(queue.push(Direction::Write, u64::MAX, 1, now), Some(1));
    assert_eq!((queue.len(), queue.due()), (0, None));
}

#[test]
fn requests_beyond_the_limit_wait_in_order_of_arrival() {
    let now = Instant::now();
    let (mut queue, _) = alone(only(Measure::IopsWrite, 10, 0, 1), now);
    assert_eq!(queue.push(Direction::Write, 512, 0, now), Some(0));
    // One request is a tenth of a second's, and one that fills the bucket exactly is admitted.
    assert_eq!(queue.push(Direction::Write, 512, 1, now), Some(1));
    for request in 2..5 {
        assert_eq!(queue.push(Direction::Write, 512, request, now), None);
    }
    // Reads are not limited.
    assert_eq!(queue.push(Direction::Read, 512, 9, now), Some(9));
    let tenth = SECOND / 10;
    let expected = [(2, now + tenth), (3, now + 2 * tenth), (4, now + 3 * tenth)];
    assert_eq!(finish(&mut queue, now), expected);
}

#[test]
fn a_request_that_is_larger_than_the_bucket_goes_all_the_same_and_the_next_pays() {
    let now = Instant::now();
    let (mut queue, _) = alone(only(Measure::BpsTotal, 1000, 0, 1), now);
    assert_eq!(queue.push(Direction::Write, 1_000_000, 0, now), Some(0));
    assert_eq!(queue.push(Direction::Read, 1, 1, now), None);
    let wait = Duration::from_millis(999_900);
    assert_eq!(finish(&mut queue, now), [(1, now + wait)]);
}

#[test]
fn a_large_request_counts_as_several() {
    let now = Instant::now();
    let limit = |of| Limit {
        average: if of == Measure::IopsTotal { 10 } else { 0 },
        ..Limit::default()
    };
    let (mut queue, _) = alone(Limits::new(limit, 4096).unwrap(), now);
    // 2.5 requests, and room for one.
    assert_eq!(queue.push(Direction::Read, 10240, 0, now), Some(0));
    assert_eq!(queue.push(Direction::Read, 1, 1, now), None);
    let wait = Duration::from_millis(150);
    assert_eq!(finish(&mut queue, now), [(1, now + wait)]);
}

#[test]
fn other_limits_are_for_what_waits_too() {
    let now = Instant::now();
    let (mut queue, group) = alone(only(Measure::BpsTotal, 1, 0, 1), now);
    for request in 0..4 {
        queue.push(Direction::Write, 1000, request, now);
    }
    assert_eq!(queue.len(), 3);
    let wait = queue.due().unwrap() - now;
    assert_eq!(wait, Duration::from_millis(999_900));
    group.set_limits(only(Measure::BpsTotal, 1000, 0, 1), now);
    assert_eq!(pop_all(&mut queue, now), [1]);
    let rest = finish(&mut queue, now);
    let first = now + Duration::from_millis(900);
    assert_eq!(rest, [(2, first), (3, first + SECOND)]);
    // Without limits, requests are admitted at once.
    queue.push(Direction::Write, 1000, 4, first);
    assert_eq!(queue.len(), 1);
    queue.set_member(None);
    assert_eq!(pop_all(&mut queue, first), [4]);
}

#[test]
fn a_restored_group_has_used_up_as_much_as_it_had_when_it_was_saved() {
    let now = Instant::now();
    let limits = only(Measure::BpsTotal, VALUE_MAX, VALUE_MAX, 1);
    let before = group(limits, now);
    let (member, _) = join(&before);
    // A level of more than 64 bits.
    member.admit(Direction::Write, u64::MAX, now);
    let text = serde_json::to_string(&before.save(now)).unwrap();
    // The clock is ahead of the other host's, and no time has passed for the group.
    let later = now + 100 * SECOND;
    let after = Arc::new(Group::restored(
        &serde_json::from_str(&text).unwrap(),
        later,
    ));
    assert_eq!((after.name(), after.limits()), ("group", limits));
    let admission = |group: &Arc<Group>, now: Instant| {
        let (member, _) = join(group);
        match member.admit(Direction::Read, 1, now) {
            Admission::At(due) => due - now,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(admission(&after, later), admission(&before, now));
}

#[test]
fn disks_in_a_group_take_turns_and_each_wakes_the_next() {
    let now = Instant::now();
    let group = group(only(Measure::IopsTotal, 10, 0, 1), now);
    let [(first, first_wake), (second, second_wake)] = [join(&group), join(&group)];
    let [mut one, mut two] = [ThrottleQueue::default(), ThrottleQueue::default()];
    one.set_member(Some(first));
    two.set_member(Some(second));
    let mut at = now;
    for request in 0..5 {
        one.push(Direction::Write, 512, request, now);
    }
    assert_eq!(one.len(), 3);
    for request in 5..8 {
        assert_eq!(two.push(Direction::Write, 512, request, now), None);
    }
    assert_eq!(two.due(), None);
    assert!(second_wake.read().is_err());
    let mut order = Vec::new();
    while !one.is_empty() || !two.is_empty() {
        for (queue, wake, other) in [
            (&mut one, &first_wake, &second_wake),
            (&mut two, &second_wake, &first_wake),
        ] {
            at = queue.due().map_or(at, |due| due.max(at));
            let Some(request) = queue.pop(at) else {
                continue;
            };
            order.push(request);
            // It is the other's turn, and this one's only after that.
            assert_eq!(queue.pop(at), None);
            assert_eq!(other.read().is_ok(), order.len() < 6);
            let _ = wake.read();
        }
        let asked = [one.pop(at), two.pop(at)];
        assert_eq!(asked, [None, None]);
    }
    assert_eq!(order, [2, 5, 3, 6, 4, 7]);
    assert_eq!(at, now + SECOND * 6 / 10);
}

#[test]
fn a_disk_that_leaves_its_group_wakes_the_next() {
    let now = Instant::now();
    let group = group(only(Measure::BpsWrite, 1000, 0, 1), now);
    let [(first, _), (second, wake)] = [join(&group), join(&group)];
    let [mut one, mut two] = [ThrottleQueue::default(), ThrottleQueue::default()];
    one.set_member(Some(first));
    two.set_member(Some(second));
    one.push(Direction::Write, 200, 0, now);
    assert_eq!(one.push(Direction::Write, 200, 1, now), None);
    assert_eq!(two.push(Direction::Write, 200, 2, now), None);
    one.suspend();
    wake.read().unwrap();
    assert_eq!(two.pop(now), None);
    let due = two.due().unwrap();
    assert_eq!(due, now + SECOND / 10);
    // It re-enters at the end of the line.
    assert_eq!(one.pop(due), None);
    assert_eq!((one.due(), two.pop(due)), (None, Some(2)));
    assert_eq!(one.pop(due), None);
    let last = one.due().unwrap();
    assert_eq!(last, due + SECOND * 2 / 10);
    // A dropped disk leaves the line.
    drop(one);
    assert_eq!(two.push(Direction::Write, 1, 3, last), Some(3));
}

#[test]
fn a_change_of_limits_wakes_every_disk() {
    let now = Instant::now();
    let group = group(only(Measure::BpsWrite, 1000, 0, 1), now);
    let members = [join(&group), join(&group), join(&group)];
    let limits = only(Measure::BpsWrite, 2000, 0, 1);
    group.set_limits(limits, now);
    assert_eq!(group.limits(), limits);
    for (_, wake) in &members {
        wake.read().unwrap();
    }
}

#[test]
fn drain_returns_all_waiting_requests() {
    let now = Instant::now();
    let (mut queue, _) = alone(only(Measure::IopsTotal, 1, 0, 1), now);
    for request in 0..3 {
        queue.push(Direction::Write, 1, request, now);
    }
    queue.push(Direction::Read, 1, 3, now);
    assert_eq!(queue.drain().collect::<Vec<_>>(), [3, 1, 2]);
    assert_eq!((queue.is_empty(), queue.due()), (true, None));
}

/// The limits of a property test.
#[derive(Debug, Clone, Copy)]
struct Plan {
    limits: Limits,
    measure: Measure,
    limit: Limit,
}

fn plans() -> impl Strategy<Value = Plan> {
    let measures = prop::sample::select(Measure::ALL.to_vec());
    let rates = (1u64..2_000_000, 0u64..4, 1u64..4);
    (measures, rates).prop_map(|(measure, (average, burst, length))| {
        let length = if burst > 0 { length } else { 1 };
        let limit = Limit {
            average,
            maximum: burst * average,
            length,
        };
        Plan {
            limits: only(measure, average, limit.maximum, length),
            measure,
            limit,
        }
    })
}

/// Requests: direction, length, and nanoseconds since the one before.
fn traffic() -> impl Strategy<Value = Vec<(Direction, u64, u64)>> {
    let direction = prop::sample::select(Direction::ALL.to_vec());
    let gap = prop_oneof![Just(0), 0u64..2_000_000_000];
    prop::collection::vec((direction, 0u64..100_000, gap), 1..60)
}

/// One admitted request: its number, direction, cost in the plan's measure, and time.
#[derive(Debug, Clone, Copy)]
struct Gone {
    request: u64,
    direction: Direction,
    cost: u64,
    at: Instant,
}

/// Runs traffic through a queue that is polled exactly when due.
fn play(plan: Plan, traffic: &[(Direction, u64, u64)], start: Instant) -> Vec<Gone> {
    let (mut queue, _) = alone(plan.limits, start);
    let mut gone = Vec::new();
    let mut record = |request: u64, at| {
        let (direction, bytes, _) = traffic[usize::try_from(request).unwrap()];
        let bytes_count = matches!(
            plan.measure,
            Measure::BpsTotal | Measure::BpsRead | Measure::BpsWrite
        );
        let counts = match plan.measure {
            Measure::BpsTotal | Measure::IopsTotal => true,
            Measure::BpsRead | Measure::IopsRead => direction == Direction::Read,
            Measure::BpsWrite | Measure::IopsWrite => direction == Direction::Write,
        };
        let cost = match (counts, bytes_count) {
            (false, _) => 0,
            (true, true) => bytes,
            (true, false) => 1,
        };
        gone.push(Gone {
            request,
            direction,
            cost,
            at,
        });
    };
    let mut arrivals: VecDeque<_> = (0..).zip(traffic.iter().copied()).collect();
    let mut now = start;
    let mut next = arrivals
        .front()
        .map(|(_, (.., gap))| now + Duration::from_nanos(*gap));
    while next.is_some() || !queue.is_empty() {
        let due = queue.due();
        now = [next, due]
            .into_iter()
            .flatten()
            .min()
            .expect("it is due some time")
            .max(now);
        for request in pop_all(&mut queue, now) {
            record(request, now);
        }
        if next == Some(now) {
            let (request, (direction, bytes, _)) = arrivals.pop_front().unwrap();
            if let Some(request) = queue.push(direction, bytes, request, now) {
                record(request, now);
            }
            next = arrivals
                .front()
                .map(|(_, (.., gap))| now + Duration::from_nanos(*gap));
        }
    }
    gone
}

proptest! {
    #[test]
    fn over_any_time_no_more_goes_than_the_limit_and_its_burst(
        plan in plans(),
        traffic in traffic(),
    ) {
        let gone = play(plan, &traffic, Instant::now());
        let Limit { average, maximum, length } = plan.limit;
        let burst = if maximum == 0 { average.div_ceil(10) } else { maximum * length };
        // A request is admitted whole, and one of each direction may be ahead of the other.
        let largest = gone.iter().map(|gone| gone.cost).max().unwrap_or(0);
        for (index, first) in gone.iter().enumerate() {
            let mut sum = 0;
            for last in &gone[index..] {
                sum += last.cost;
                let time = (last.at - first.at).as_secs_f64();
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                let (sum, rest, average) = (sum as f64, (burst + 2 * largest) as f64, average as f64);
                prop_assert!(sum <= average * time + rest + 1.0, "{sum} in {time} s");
                if length > 1 {
                    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                    let (maximum, rest) = (maximum as f64, (maximum.div_ceil(10) + 2 * largest) as f64);
                    prop_assert!(sum <= maximum * time + rest + 1.0, "a burst of {sum} in {time} s");
                }
            }
        }
    }

    #[test]
    fn every_request_is_admitted_once_and_each_direction_in_order(
        plan in plans(),
        traffic in traffic(),
    ) {
        let gone = play(plan, &traffic, Instant::now());
        prop_assert_eq!(gone.len(), traffic.len());
        for direction in Direction::ALL {
            let of = |wanted: Direction| move |gone: &&Gone| gone.direction == wanted;
            let order: Vec<u64> = gone.iter().filter(of(direction)).map(|gone| gone.request).collect();
            prop_assert!(order.is_sorted(), "{:?}", order);
        }
    }

    #[test]
    fn nothing_waits_longer_than_what_is_before_it_takes(
        plan in plans(),
        traffic in traffic(),
    ) {
        let start = Instant::now();
        let gone = play(plan, &traffic, start);
        let cost: u64 = gone.iter().map(|gone| gone.cost).sum();
        let arrived: u64 = traffic.iter().map(|(.., gap)| gap).sum();
        // Everything admitted, at the average rate, after the last arrival.
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let longest = Duration::from_nanos(arrived).as_secs_f64() + cost as f64 / plan.limit.average as f64;
        let end = gone.iter().map(|gone| gone.at).max().unwrap_or(start);
        prop_assert!((end - start).as_secs_f64() <= longest + 0.001);
    }

    #[test]
    fn asking_more_often_admits_no_more(
        plan in plans(),
        traffic in traffic(),
        early in prop::collection::vec(0.0f64..1.0, 8),
    ) {
        let start = Instant::now();
        let (mut queue, _) = alone(plan.limits, start);
        for (request, (direction, bytes, _)) in (0..).zip(&traffic) {
            queue.push(*direction, *bytes, request, start);
        }
        let mut now = start;
        while let Some(due) = queue.due() {
            for part in &early {
                let before = now + due.saturating_duration_since(now).mul_f64(*part);
                if before < due {
                    prop_assert_eq!(queue.pop(before), None);
                    prop_assert_eq!(queue.due(), Some(due));
                }
            }
            now = due;
            prop_assert!(queue.pop(now).is_some());
            while queue.pop(now).is_some() {}
        }
        prop_assert!(queue.is_empty());
    }
}
