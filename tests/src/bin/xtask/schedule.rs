//! Runs jobs in parallel, as far as their order and the CPUs permit.

use std::collections::BTreeMap;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Which jobs exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Building with cargo, which would silently wait for a lock otherwise.
    Cargo,
    /// Excludes nothing.
    Free,
}

/// A unit of work.
pub struct Job<'a> {
    /// Its name.
    pub name: String,
    /// Jobs that have to end before it; those not in the schedule are ignored.
    pub after: &'static [&'static str],
    /// Which jobs it excludes.
    pub lane: Lane,
    /// Number of CPUs it keeps busy; 0 if it mostly waits for the network.
    pub cpus: usize,
    /// Its time limit.
    pub limit: Duration,
    /// Does the work; fails if the jobs after it cannot run then.
    pub run: Box<dyn FnOnce() -> Result<(), String> + Send + 'a>,
}

/// Runs jobs on `cpus` CPUs, the first in the list that can run first. Jobs that depend on a failed one are passed to
/// `left_out` with the reason. A job that exceeds its limit is passed to `overdue`, once.
///
/// # Errors
///
/// A thread for a job cannot be started.
pub fn run(
    jobs: Vec<Job<'_>>,
    cpus: usize,
    left_out: &mut dyn FnMut(&str, &str),
    overdue: &mut dyn FnMut(&str),
) -> io::Result<()> {
    let mut waiting = jobs;
    let mut running: BTreeMap<String, Occupied> = BTreeMap::new();
    // Names and reasons of failed jobs.
    let mut failed: BTreeMap<String, String> = BTreeMap::new();
    let (sender, ended) = mpsc::channel();
    thread::scope(|scope| {
        loop {
            while let Some(index) = vain(&waiting, &failed) {
                let job = waiting.remove(index);
                let mut causes = job.after.iter().filter_map(|name| failed.get(*name));
                let why = causes.next().cloned().unwrap_or_default();
                left_out(&job.name, &why);
                failed.insert(job.name, why);
            }
            while let Some(index) = next(&waiting, &running, cpus) {
                let Job {
                    name,
                    lane,
                    cpus,
                    limit,
                    run,
                    ..
                } = waiting.remove(index);
                let occupied = Occupied {
                    lane,
                    cpus,
                    until: Some(Instant::now() + limit),
                };
                running.insert(name.clone(), occupied);
                let sender = sender.clone();
                let work = move || {
                    let end = panic::catch_unwind(AssertUnwindSafe(run));
                    // The receiver exists until all jobs have ended.
                    let _ = sender.send((name, end.ok()));
                };
                thread::Builder::new().spawn_scoped(scope, work)?;
            }
            if running.is_empty() {
                for job in &waiting {
                    left_out(&job.name, "it comes after itself");
                }
                return Ok(());
            }
            let Some((name, end)) = wait(&ended, &mut running, overdue) else {
                return Ok(());
            };
            running.remove(&name);
            match end {
                Some(Ok(())) => {}
                Some(Err(why)) => {
                    failed.insert(name, why);
                }
                None => {
                    left_out(&name, "it panicked");
                    failed.insert(name.clone(), format!("'{name}' panicked"));
                }
            }
        }
    })
}

/// Resources of a running job.
struct Occupied {
    lane: Lane,
    cpus: usize,
    /// When it is overdue; none if reported.
    until: Option<Instant>,
}

/// Waits until a job ends, and reports overdue ones.
fn wait<T>(
    ended: &Receiver<(String, T)>,
    running: &mut BTreeMap<String, Occupied>,
    overdue: &mut dyn FnMut(&str),
) -> Option<(String, T)> {
    loop {
        let next = running.values().filter_map(|job| job.until).min();
        let received = match next {
            None => ended.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(until) => ended.recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        match received {
            Ok(end) => return Some(end),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        for (name, job) in running.iter_mut() {
            if job.until.is_some_and(|until| until <= now) {
                job.until = None;
                overdue(name);
            }
        }
    }
}

/// The first job that depends on a failed one.
fn vain(waiting: &[Job<'_>], failed: &BTreeMap<String, String>) -> Option<usize> {
    waiting
        .iter()
        .position(|job| job.after.iter().any(|name| failed.contains_key(*name)))
}

/// The first job that can run now.
fn next(waiting: &[Job<'_>], running: &BTreeMap<String, Occupied>, cpus: usize) -> Option<usize> {
    let busy: usize = running.values().map(|job| job.cpus).sum();
    let has_cargo = running.values().any(|job| job.lane == Lane::Cargo);
    let is_to_come =
        |name: &str| running.contains_key(name) || waiting.iter().any(|job| job.name == name);
    waiting.iter().position(|job| {
        let has_cpus = job.cpus == 0 || busy == 0 || busy + job.cpus <= cpus;
        let has_lane = job.lane == Lane::Free || !has_cargo;
        has_cpus && has_lane && !job.after.iter().any(|name| is_to_come(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Barrier, Mutex};

    fn job<'a>(
        name: &str,
        after: &'static [&'static str],
        lane: Lane,
        run: impl FnOnce() -> Result<(), String> + Send + 'a,
    ) -> Job<'a> {
        Job {
            name: name.to_owned(),
            after,
            lane,
            cpus: 1,
            limit: Duration::from_secs(60),
            run: Box::new(run),
        }
    }

    /// Fails the test if a job is overdue.
    fn never(name: &str) {
        panic!("{name} is overdue");
    }

    #[test]
    fn a_job_runs_after_its_dependencies_and_is_left_out_if_they_fail() {
        let log = Mutex::new(Vec::new());
        let say = |text: &'static str| {
            log.lock().unwrap().push(text);
            Ok(())
        };
        let mut left_out = Vec::new();
        let jobs = vec![
            job("last", &["second", "not planned"], Lane::Free, || {
                say("last")
            }),
            job("second", &["first"], Lane::Free, || say("second")),
            job("first", &[], Lane::Free, || say("first")),
            job("fails", &[], Lane::Free, || Err("no disk".to_owned())),
            job("vain", &["fails"], Lane::Free, || say("vain")),
            job("vain too", &["vain"], Lane::Free, || say("vain too")),
        ];
        let mut leave = |name: &str, why: &str| left_out.push(format!("{name}: {why}"));
        run(jobs, 1, &mut leave, &mut never).unwrap();
        assert_eq!(*log.lock().unwrap(), ["first", "second", "last"]);
        assert_eq!(left_out, ["vain: no disk", "vain too: no disk"]);
    }

    #[test]
    fn as_many_jobs_run_in_parallel_as_there_are_cpus() {
        let both = Barrier::new(2);
        let meet = || {
            both.wait();
            Ok(())
        };
        let jobs = vec![
            job("one", &[], Lane::Cargo, meet),
            job("other", &[], Lane::Free, meet),
        ];
        run(jobs, 2, &mut |_, _| {}, &mut never).unwrap();
    }

    #[test]
    fn one_job_at_a_time_builds() {
        let building = Mutex::new(());
        let build = || {
            building
                .try_lock()
                .map(drop)
                .map_err(|error| error.to_string())
        };
        let names: Vec<String> = (0..20).map(|number| format!("build {number}")).collect();
        let jobs = names.iter().map(|name| job(name, &[], Lane::Cargo, build));
        let after = job("check", &["build 0"], Lane::Free, || Ok(()));
        let mut left_out = 0;
        run(
            jobs.chain([after]).collect(),
            8,
            &mut |_, _| left_out += 1,
            &mut never,
        )
        .unwrap();
        assert_eq!(left_out, 0);
    }

    #[test]
    fn an_overdue_job_is_reported_once() {
        let (told, heard) = mpsc::channel::<()>();
        let mut slow = job("slow", &[], Lane::Free, move || {
            // Ends once it is reported.
            heard.recv().map_err(|error| error.to_string())
        });
        slow.limit = Duration::from_millis(20);
        let mut overdue = Vec::new();
        let mut tell = |name: &str| {
            overdue.push(name.to_owned());
            told.send(()).unwrap();
        };
        run(vec![slow], 1, &mut |_, _| {}, &mut tell).unwrap();
        assert_eq!(overdue, ["slow"]);
    }

    #[test]
    fn circular_jobs_are_named() {
        let jobs = vec![
            job("one", &["other"], Lane::Free, || Ok(())),
            job("other", &["one"], Lane::Free, || Ok(())),
        ];
        let mut left_out = Vec::new();
        run(
            jobs,
            1,
            &mut |name, _| left_out.push(name.to_owned()),
            &mut never,
        )
        .unwrap();
        assert_eq!(left_out, ["one", "other"]);
    }

    #[test]
    fn a_panic_of_a_job_leaves_out_only_its_dependents() {
        let jobs = vec![
            job("bad", &[], Lane::Free, || panic!("on purpose")),
            job("vain", &["bad"], Lane::Free, || Ok(())),
            job("good", &[], Lane::Free, || Ok(())),
        ];
        let mut left_out = Vec::new();
        run(
            jobs,
            1,
            &mut |name, _| left_out.push(name.to_owned()),
            &mut never,
        )
        .unwrap();
        assert_eq!(left_out, ["bad", "vain"]);
    }
}
