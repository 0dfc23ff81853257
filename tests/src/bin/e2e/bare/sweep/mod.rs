//! Every system call of the program's start, of a reset and of the end fails once, with each of its errors.
//!
//! After each failure the program either reports it in a line and ends with status 1, or completes its work. It never
//! hangs, panics, ends silently, or leaves its socket or its pid file behind.
//!
//! `FV_SWEEP='reset disk-d0 ioctl:0xae80 0 EINTR'` runs that case alone.

mod errors;
mod play;
mod tracer;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use faultvisor_tests::suite::{Context, Failure, Needs, Size, Test};
use faultvisor_tests::{check, tests};

use play::Outcome;
use tracer::{Fault, Observed, Phase};

pub const TESTS: &[Test] = tests![
    Needs::Kvm, with sizes;
    whatever_system_call_fails_the_program_says_so_or_goes_on,
];

/// Number of cases in a small run, spread evenly over all of them.
const SAMPLE: usize = 96;

/// Number of cases run at once.
const PLAYERS: usize = 2;

/// A case, which can be run alone.
struct Case {
    call: Observed,
    fault: Fault,
}

impl Case {
    fn name(&self) -> String {
        format!("{} {:?}", self.fault.place, self.fault.errno)
    }
}

/// Every case that two runs have in common: a call that only one of them makes cannot be located again.
fn cases(context: &Context) -> Result<(usize, Vec<Case>), Failure> {
    let record = || play::record(context);
    let (first, second) = (record()?, record()?);
    let total = first.len();
    let places: std::collections::BTreeSet<_> = second.into_iter().map(|call| call.place).collect();
    let common = first
        .into_iter()
        .filter(|call| places.contains(&call.place));
    let cases = common.flat_map(|call| {
        let errors = if errors::is_the_runtimes(&call) {
            Vec::new()
        } else {
            errors::of(&call)
        };
        errors.into_iter().map(move |errno| Case {
            fault: Fault {
                place: call.place.clone(),
                errno,
            },
            call: call.clone(),
        })
    });
    Ok((total, cases.collect()))
}

fn whatever_system_call_fails_the_program_says_so_or_goes_on(
    context: &Context,
) -> Result<(), Failure> {
    let (calls, mut cases) = cases(context)?;
    for phase in [Phase::Start, Phase::Reset, Phase::End] {
        let is_there = cases.iter().any(|case| case.call.place.phase == phase);
        check!(is_there, "no call of the phase '{}' was seen", phase.name());
    }
    let all = cases.len();
    if let Ok(only) = std::env::var("FV_SWEEP") {
        cases.retain(|case| case.name() == only);
        check!(!cases.is_empty(), "there is no case '{only}'");
    } else if context.size() == Size::Small {
        let step = all.div_ceil(SAMPLE);
        let mut index = 0;
        cases.retain(|_| {
            index += 1;
            index % step == 0
        });
    }
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    let player = |number: usize| -> Result<(), Failure> {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = play::play(context, &format!("sweep-{number}"), &case.fault)?;
            let mut outcomes = outcomes
                .lock()
                .map_err(|_| Failure::new("a player panicked"))?;
            outcomes.push((case.name(), outcome));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let players: Vec<_> = (0..PLAYERS)
            .map(|number| scope.spawn(move || player(number)))
            .collect();
        players.into_iter().try_for_each(|player| {
            let ended = player.join();
            ended.map_err(|_| Failure::new("a player panicked"))?
        })
    })?;
    let outcomes = outcomes
        .into_inner()
        .map_err(|_| Failure::new("a player panicked"))?;
    report(context, calls, all, &outcomes)
}

fn report(
    context: &Context,
    calls: usize,
    all: usize,
    outcomes: &[(String, Outcome)],
) -> Result<(), Failure> {
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, outcome) in outcomes {
        *classes.entry(outcome.class()).or_default() += 1;
    }
    let classes: Vec<String> = classes
        .iter()
        .map(|(class, count)| format!("{count} {class}"))
        .collect();
    context.note(&format!(
        "{calls} calls, {all} cases, {} of them played: {}",
        outcomes.len(),
        classes.join(", ")
    ));
    let bad: Vec<String> = outcomes
        .iter()
        .filter_map(|(name, outcome)| match outcome {
            Outcome::Bad(why) => Some(format!("{name}: {why}")),
            _ => None,
        })
        .collect();
    for line in &bad {
        context.note(line);
    }
    check!(bad.is_empty(), "{} cases: {}", bad.len(), bad.join("; "));
    Ok(())
}
