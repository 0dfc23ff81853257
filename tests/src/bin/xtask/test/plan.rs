//! The jobs of a complete test run, in order of priority.
//!
//! Two chains of work take about as long as each other: cargo's builds and checks, and guests. They run in parallel,
//! and cargo goes first where both could run, so that guests never run alone.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use faultvisor_tests::debian::DebianImages;
use faultvisor_tests::host::Kvm;
use faultvisor_tests::packages;
use faultvisor_tests::qemu_schema::QemuSchema;
use faultvisor_tests::suite::{Part, Size, chain};
use faultvisor_tests::workspace::Workspace;

use super::tally::{Shown, Tally};
use super::unit::{self, Program};
use super::{Options, Stage, checks};
use crate::e2e::{self, Choice, Images, Programs};
use crate::progress::Running;
use crate::schedule::{Job, Lane};
use crate::{binaries, cargo, console, debian, demo, examples, fuzz, python};

/// Time limit of one cargo command, on a busy machine.
const CARGO_LIMIT: Duration = Duration::from_secs(60 * 30);

/// Time limit of any job: a hanging one is ended and named.
const JOB_LIMIT: Duration = Duration::from_secs(60 * 45);
/// Time limit of a job in the full size.
const FULL_JOB_LIMIT: Duration = Duration::from_secs(60 * 660);

/// Names of jobs that others depend on.
const PACKAGES: &str = "installing packages";
const PROGRAMS: &str = "building the programs";
const SHIPPED: &str = "building what is shipped";
const IMAGES: &str = "making the guests' images";
const DEBIAN: &str = "making Debian";
const PYTHON: &str = "making a Python";
const SCHEMA: &str = "fetching QEMU's schema";
const UNIT: &str = "building the unit tests";
const FUZZ: &str = "building the fuzz targets";

/// The results that jobs pass to others.
pub struct Plan<'a> {
    workspace: &'a Workspace,
    options: &'a Options,
    cpus: usize,
    kvm: Kvm,
    /// Test results.
    pub tally: Tally,
    programs: OnceLock<Programs>,
    shipped: OnceLock<PathBuf>,
    images: OnceLock<Images>,
    debian: OnceLock<DebianImages>,
    python: OnceLock<PathBuf>,
    qemu_schema: OnceLock<QemuSchema>,
    unit: OnceLock<Vec<Program>>,
    fuzz: OnceLock<bool>,
}

/// A job's result for its dependents: a failure is reported once, and they are left out.
type Outcome = Result<(), Box<dyn Error>>;

impl<'a> Plan<'a> {
    /// The plan for some stages.
    pub fn new(workspace: &'a Workspace, options: &'a Options, cpus: usize) -> Self {
        Self {
            workspace,
            options,
            cpus,
            kvm: Kvm::probe(),
            tally: Tally::default(),
            programs: OnceLock::new(),
            shipped: OnceLock::new(),
            images: OnceLock::new(),
            debian: OnceLock::new(),
            python: OnceLock::new(),
            qemu_schema: OnceLock::new(),
            unit: OnceLock::new(),
            fuzz: OnceLock::new(),
        }
    }

    /// The jobs, in this order: cargo's builds for guests, what guests boot, everything else of cargo's.
    pub fn jobs(&self) -> Vec<Job<'_>> {
        let mut jobs = vec![self.job(PACKAGES, &[], Lane::Free, 0, || self.install_packages())];
        if self.options.has_guests() {
            self.add_what_guests_need(&mut jobs);
        }
        if self.options.has(Stage::Checks) {
            for (name, mut command) in checks::formatting(self.workspace) {
                let run = move || {
                    self.check(name, &mut command)?;
                    Ok(())
                };
                jobs.push(self.job(name, &[], Lane::Free, 0, run));
            }
        }
        if self.options.has(Stage::Unit) {
            self.add_unit_tests(&mut jobs);
        }
        if self.options.has(Stage::Checks) {
            for (name, mut command) in checks::by_cargo(self.workspace) {
                let run = move || {
                    self.check(name, &mut command)?;
                    Ok(())
                };
                jobs.push(self.job(name, &[], Lane::Cargo, 1, run));
            }
        }
        if self.options.has(Stage::Fuzz) {
            self.add_fuzzing(&mut jobs);
        }
        if self.options.has(Stage::E2e) {
            self.add_end_to_end(&mut jobs, Size::Small);
        }
        if self.options.has(Stage::Demo) {
            let run = || {
                let guest = self.images()?.guest.clone()?;
                let ran = demo::run(self.workspace, &self.programs()?.binaries, &guest)?;
                self.tally.add("demonstration", ran, Shown::Every);
                Ok(())
            };
            let after = &[PROGRAMS, IMAGES];
            jobs.push(self.job("the demonstration", after, Lane::Free, 1, run));
        }
        if self.options.has(Stage::Soak) {
            self.add_end_to_end(&mut jobs, Size::Full);
        }
        jobs
    }

    /// A job whose failure is printed with its name.
    fn job<'s>(
        &'s self,
        name: &str,
        after: &'static [&'static str],
        lane: Lane,
        cpus: usize,
        run: impl FnOnce() -> Outcome + Send + 's,
    ) -> Job<'s> {
        let title = name.to_owned();
        let run = move || {
            run().map_err(|error| {
                let why = chain(error.as_ref());
                self.tally.failed(&title, &why);
                format!("'{title}' failed")
            })
        };
        Job {
            name: name.to_owned(),
            after,
            lane,
            cpus,
            limit: JOB_LIMIT,
            run: Box::new(run),
        }
    }

    /// As [`job`](Self::job), shown while it runs, and counted among the slow items.
    fn shown<'s>(
        &'s self,
        name: &'static str,
        after: &'static [&'static str],
        lane: Lane,
        cpus: usize,
        run: impl FnOnce() -> Outcome + Send + 's,
    ) -> Job<'s> {
        self.job(name, after, lane, cpus, move || {
            let _running = Running::new(name);
            let started = Instant::now();
            let ended = run();
            self.tally.took(name, started.elapsed().as_secs_f64());
            ended
        })
    }

    /// Installs all at once, since each call of apt takes its time. A job whose program is missing reports that by
    /// name, and does without if it can.
    fn install_packages(&self) -> Outcome {
        let mut needed = Vec::new();
        if self.options.has(Stage::Unit) {
            // The C library is tested by programs in C and C++.
            needed.extend([
                packages::CC,
                packages::CXX,
                packages::PKG_CONFIG,
                packages::VALGRIND,
            ]);
            needed.extend([packages::QEMU_IMG, packages::QEMU_IO, packages::MKE2FS]);
        }
        if self.options.has(Stage::Fuzz) {
            // libFuzzer is C++.
            needed.push(packages::CXX);
        }
        if self.options.has_guests() {
            needed.extend([
                packages::CC,
                packages::MKE2FS,
                // For the lab, and for tests that compare with QEMU.
                packages::QEMU,
                packages::QEMU_IMG,
                packages::QEMU_IO,
            ]);
            needed.extend([packages::FIO, packages::SQLITE, packages::XFSPROGS]);
            if self.makes_debian() {
                needed.push(packages::MMDEBSTRAP);
            }
        }
        let _running = Running::new(PACKAGES);
        if let Err(error) = packages::ensure_installed(&needed, &console::note) {
            console::note(&chain(&error));
        }
        Ok(())
    }

    fn makes_debian(&self) -> bool {
        let has_tests = self.options.has(Stage::E2e) || self.options.has(Stage::Soak);
        let is_named = |name: &String| name.contains(debian::NEEDED);
        let names = &self.options.names;
        has_tests && (names.is_empty() || names.iter().any(is_named))
    }

    fn add_what_guests_need<'s>(&'s self, jobs: &mut Vec<Job<'s>>) {
        let build = || {
            let binaries = binaries::build(self.workspace)?;
            let examples = examples::build(self.workspace, &binaries)?;
            let _ = self.programs.set(Programs { binaries, examples });
            Ok(())
        };
        jobs.push(self.shown(PROGRAMS, &[], Lane::Cargo, 1, build));
        let make = || {
            let _ = self.images.set(Images::build(self.workspace, &self.kvm)?);
            Ok(())
        };
        jobs.push(self.shown(IMAGES, &[PACKAGES], Lane::Free, 1, make));
        if self.makes_debian() {
            let make = || {
                if let Some(images) = e2e::debian(self.workspace)? {
                    let _ = self.debian.set(images);
                }
                Ok(())
            };
            // It mostly waits for downloads.
            jobs.push(self.shown(DEBIAN, &[PACKAGES], Lane::Free, 0, make));
        }
        if self.options.has(Stage::E2e) || self.options.has(Stage::Soak) {
            let build = || {
                if !self.has_tests_here()? {
                    return Ok(());
                }
                let cargo = cargo::beside_guests();
                let directory = binaries::build_shipped(self.workspace, "release", cargo)?;
                let _ = self.shipped.set(directory);
                Ok(())
            };
            jobs.push(self.shown(SHIPPED, &[PROGRAMS], Lane::Cargo, 1, build));
            let make = || {
                if let Some(python) = python::with_qmp(self.workspace) {
                    let _ = self.python.set(python);
                }
                Ok(())
            };
            jobs.push(self.shown(PYTHON, &[PACKAGES], Lane::Free, 0, make));
            let fetch = || {
                if let Some(schema) = e2e::qemu_schema(self.workspace)? {
                    let _ = self.qemu_schema.set(schema);
                }
                Ok(())
            };
            jobs.push(self.shown(SCHEMA, &[PACKAGES], Lane::Free, 0, fetch));
        }
    }

    fn add_unit_tests<'s>(&'s self, jobs: &mut Vec<Job<'s>>) {
        let build = || {
            let mut cargo = unit::build();
            let ran = cargo::check_and_tell(self.workspace, UNIT, &mut cargo, CARGO_LIMIT)?;
            let (ran, said) = ran;
            if ran.is_well() {
                let _ = self.unit.set(unit::programs(&said));
            }
            self.tally.add(UNIT, ran, Shown::Every);
            Ok(())
        };
        jobs.push(self.job(UNIT, &[PACKAGES], Lane::Cargo, 1, build));
        let run = || self.run_unit_tests(Program::builds);
        let after = &[UNIT];
        jobs.push(self.job("unit tests that build", after, Lane::Cargo, 1, run));
        let run = || self.run_unit_tests(|program| !program.builds());
        jobs.push(self.job("unit tests", after, Lane::Free, 1, run));
        let run = || {
            let ran = unit::documentation(self.workspace)?;
            self.tally.add("doc tests", ran, Shown::NotPassed);
            Ok(())
        };
        jobs.push(self.job("doc tests", after, Lane::Cargo, 1, run));
    }

    fn run_unit_tests(&self, wanted: impl Fn(&Program) -> bool) -> Outcome {
        let programs = self.unit.get().into_iter().flatten();
        for program in programs.filter(|program| wanted(program)) {
            let started = Instant::now();
            let ran = program.run(&self.kvm)?;
            let name = format!("unit tests of {}", program.name);
            self.tally.took(&name, started.elapsed().as_secs_f64());
            self.tally.add(&name, ran, Shown::NotPassed);
        }
        Ok(())
    }

    fn add_fuzzing<'s>(&'s self, jobs: &mut Vec<Job<'s>>) {
        let build = || {
            let is_built = self.check(FUZZ, &mut fuzz::build(self.workspace))?;
            let _ = self.fuzz.set(is_built);
            Ok(())
        };
        jobs.push(self.job(FUZZ, &[PACKAGES], Lane::Cargo, 1, build));
        let run = || {
            // A failed build has been reported.
            let has_targets = self.fuzz.get().is_some_and(|is_built| *is_built);
            let targets = fuzz::targets(self.workspace)?;
            for target in targets.into_iter().filter(|_| has_targets) {
                let ran = fuzz::run(self.workspace, &target)?;
                self.tally.add(&target, ran, Shown::Every);
            }
            Ok(())
        };
        jobs.push(self.job("fuzzing", &[FUZZ], Lane::Free, 1, run));
    }

    /// Runs a command that is one test, and returns whether it passed.
    fn check(&self, name: &str, command: &mut Command) -> io::Result<bool> {
        let ran = cargo::check(self.workspace, name, command, CARGO_LIMIT)?;
        let is_well = ran.is_well();
        self.tally.add(name, ran, Shown::Every);
        Ok(is_well)
    }

    fn programs(&self) -> Result<&Programs, &'static str> {
        self.programs.get().ok_or("there are no programs")
    }

    fn images(&self) -> Result<&Images, &'static str> {
        self.images.get().ok_or("there are no images")
    }

    /// Adds the tests of one size, where each of them can run.
    fn add_end_to_end<'s>(&'s self, jobs: &mut Vec<Job<'s>>, size: Size) {
        // Two parts per CPU: none idles while another has much to do.
        let parts = size.choose((2 * self.cpus).min(8), 1);
        match self.kvm {
            Kvm::Direct => {
                self.add_parts(jobs, size, (&["linux"], parts), Where::Here);
                self.add_parts(jobs, size, (&["nothing", "kvm"], 1), Where::Here);
                self.add_parts(jobs, size, (&[debian::NEEDED], 1), Where::Here);
            }
            Kvm::SoftwareOnly { .. } => {
                self.add_parts(jobs, size, (&["linux"], parts), Where::Lab);
                self.add_parts(jobs, size, (&["nothing", "kvm"], 1), Where::Here);
                self.add_parts(jobs, size, (&[debian::NEEDED], 1), Where::Lab);
            }
            Kvm::NoKvm { .. } => {
                self.add_parts(jobs, size, (&["kvm", "linux"], parts), Where::Lab);
                self.add_parts(jobs, size, (&["nothing"], 1), Where::Here);
                self.add_parts(jobs, size, (&[debian::NEEDED], 1), Where::Lab);
            }
        }
    }

    fn add_parts<'s>(
        &'s self,
        jobs: &mut Vec<Job<'s>>,
        size: Size,
        (needs, count): (&'static [&'static str], usize),
        place: Where,
    ) {
        for index in 0..count {
            let choice = Choice {
                needs,
                names: &self.options.names,
                size,
                part: Part { index, count },
            };
            let part = if count == 1 {
                String::new()
            } else {
                format!(", part {} of {count}", index + 1)
            };
            let place_name = match place {
                Where::Here => "on this machine",
                Where::Lab => "in the lab",
            };
            let whole = size.choose("", ", full size");
            let name = format!("tests of {} {place_name}{part}{whole}", needs.join(" and "));
            let after: &[&str] = match place {
                Where::Here if needs.contains(&debian::NEEDED) => {
                    &[PROGRAMS, IMAGES, SHIPPED, PYTHON, SCHEMA, DEBIAN]
                }
                Where::Here => &[PROGRAMS, IMAGES, SHIPPED, PYTHON, SCHEMA],
                Where::Lab if needs.contains(&debian::NEEDED) => &[PROGRAMS, IMAGES, DEBIAN],
                Where::Lab => &[PROGRAMS, IMAGES],
            };
            let title = name.clone();
            let run = move || self.run_end_to_end(&choice, place, &title);
            let mut job = self.job(&name, after, Lane::Free, 1, run);
            job.limit = size.choose(JOB_LIMIT, FULL_JOB_LIMIT);
            jobs.push(job);
        }
    }

    /// Whether any test runs on this machine: the selected names may all run in the lab.
    fn has_tests_here(&self) -> Result<bool, Box<dyn Error>> {
        let choice = Choice {
            needs: self.here(),
            names: &self.options.names,
            size: Size::Small,
            part: Part::WHOLE,
        };
        let names = choice.names(&self.programs()?.binaries)?;
        Ok(!names.is_empty())
    }

    /// The requirements of tests that run on this machine.
    fn here(&self) -> &'static [&'static str] {
        match self.kvm {
            Kvm::Direct => &["nothing", "kvm", "linux", debian::NEEDED],
            Kvm::SoftwareOnly { .. } => &["nothing", "kvm"],
            Kvm::NoKvm { .. } => &["nothing"],
        }
    }

    fn run_end_to_end(&self, choice: &Choice<'_>, place: Where, name: &str) -> Outcome {
        let (programs, images) = (self.programs()?, self.images()?);
        // Without tests, nothing is prepared.
        if choice.names(&programs.binaries)?.is_empty() {
            return Ok(());
        }
        let debian = self
            .debian
            .get()
            .filter(|_| choice.needs.contains(&debian::NEEDED));
        self.tally.add_end_to_end(match place {
            Where::Here => {
                let shipped = self.shipped.get().ok_or("there is nothing shipped")?;
                let subject = e2e::Here {
                    program: &shipped.join("faultvisor"),
                    python: self.python.get(),
                    qemu_schema: self.qemu_schema.get(),
                    debian,
                };
                e2e::run_here(self.workspace, programs, images, &subject, choice, name)?
            }
            Where::Lab => e2e::run_in_lab(programs, images, debian, choice, name)?,
        });
        Ok(())
    }
}

/// Where tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Here,
    Lab,
}
