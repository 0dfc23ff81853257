//! End-to-end tests in a lab.

use std::error::Error;
use std::time::Duration;

use faultvisor_harness::command_line;
use faultvisor_tests::debian::DebianImages;
use faultvisor_tests::guest::{self, GuestImages};
use faultvisor_tests::lab::{self, Payload, RunError, ScratchDisk, Settings};
use faultvisor_tests::packages;
use faultvisor_tests::suite::{Report, Size};
use faultvisor_tests::tool;

use super::{Choice, Images, Programs, Results, limit, take, without};
use crate::progress::Running;
use crate::{console, debian};

/// The directory of the examples in the lab.
const EXAMPLES: &str = "/payload/examples";

/// The lab's disk for images, a sparse file.
const fn scratch_mebibytes(size: Size) -> u64 {
    size.choose(4 << 10, 32 << 10)
}

/// The longest time without a line from the lab: more than the limit of any test, which the lab itself enforces.
const fn silence(size: Size) -> Duration {
    match size {
        Size::Small => Duration::from_secs(60 * 7),
        Size::Full => limit(size),
    }
}

/// How a lab ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// By itself, or at a limit of its own.
    Known,
    /// It stood still: not even the limits of the tests in it took effect.
    Silent,
}

/// Runs the tests, in a second lab if the first stands still. No program in a lab can stop its clock; QEMU's emulation
/// of nested virtualization now and then halts the lab's CPU for good.
pub fn run(
    programs: &Programs,
    images: &Images,
    debian: Option<&DebianImages>,
    choice: &Choice<'_>,
    name: &str,
) -> Result<Results, Box<dyn Error>> {
    match run_once(programs, images, debian, choice, name)? {
        (results, End::Known) => Ok(results),
        (_, End::Silent) => {
            console::note(&format!(
                "{name}: the lab stood still; once more in another"
            ));
            run_once(programs, images, debian, choice, name).map(|(results, _)| results)
        }
    }
}

fn run_once(
    programs: &Programs,
    images: &Images,
    debian: Option<&DebianImages>,
    choice: &Choice<'_>,
    name: &str,
) -> Result<(Results, End), Box<dyn Error>> {
    let (guest, lab) = match (&images.guest, &images.lab) {
        (Ok(guest), Ok(lab)) => (guest, lab),
        (Err(why), _) | (_, Err(why)) => {
            let names = choice.names(&programs.binaries)?;
            let results = without(names, &format!("there is no lab: {why}"));
            return Ok((results, End::Known));
        }
    };
    let running = Running::new(name);
    let (payload, inside) = payload(programs, guest, lab)?;
    let mut settings = Settings::with_limit(limit(choice.size));
    settings.silence = silence(choice.size);
    let boot = debian.map(DebianImages::boot);
    let scratch_disk = ScratchDisk::new(lab, scratch_mebibytes(choice.size), boot.as_deref())?;
    settings.scratch_disk = Some(scratch_disk.path().to_path_buf());
    let debian = debian.map(|images| debian::in_lab(images, &mut settings));
    let words = [
        "/payload/e2e",
        "run",
        "--program",
        "/payload/faultvisor",
        "--bare-guest",
        "/payload/bare-guest",
        "--examples",
        EXAMPLES,
        "--disks",
        lab::SCRATCH,
        "--guest",
    ]
    .map(str::to_owned);
    let words = words
        .into_iter()
        .chain([inside.directory().display().to_string()])
        .chain((choice.size == Size::Full).then(|| "--full-size".to_owned()))
        .chain(debian.unwrap_or_default())
        .chain(choice.arguments());
    let script = words
        .map(|word| command_line::quoted(&word))
        .collect::<Vec<_>>()
        .join(" ");
    let mut report = Report::default();
    let ran = lab.run(payload, &script, &settings, |line| {
        take(&mut report, line, &running);
    });
    let end = match ran {
        Err(RunError::Silent { .. }) => End::Silent,
        _ => End::Known,
    };
    let ended = match ran {
        Ok(outcome) => {
            let (up, total) = (outcome.up_after.as_secs_f64(), outcome.total.as_secs_f64());
            console::note(&format!(
                "{name}: the lab was up after {up:.1} s and ran for {total:.1} s"
            ));
            None
        }
        Err(error) => Some(error.to_string()),
    };
    Ok((report.finish(name, ended.as_deref()), end))
}

/// Adds files to the lab, and returns the guest's images' paths in it.
fn payload(
    programs: &Programs,
    guest: &GuestImages,
    lab: &lab::Images,
) -> Result<(Payload, GuestImages), Box<dyn Error>> {
    let Programs { binaries, examples } = programs;
    let mut payload = Payload::new(lab)?;
    payload.built("/payload/faultvisor", &binaries.faultvisor)?;
    payload.built("/payload/qmp", &binaries.qmp)?;
    payload.built("/payload/fvctl", &binaries.fvctl)?;
    payload.built("/payload/e2e", &binaries.e2e)?;
    payload.copy("/payload/bare-guest", &binaries.bare_guest)?;
    for file in &examples.programs {
        payload.built(
            &format!("{EXAMPLES}/{file}"),
            &examples.directory.join(file),
        )?;
    }
    let inside = lab::add_guest(&mut payload, guest)?;
    guest::build_programs(guest, &binaries.agent, &console::note)?;
    payload.copy(&inside.programs().to_string_lossy(), &guest.programs())?;
    lab::add_optional_tools(&mut payload, guest, &inside)?;
    for program in [packages::QEMU_IMG.program, "e2fsck"] {
        if let Some(program) = tool::find(program) {
            payload.program(&program)?;
        }
    }
    Ok((payload, inside))
}
