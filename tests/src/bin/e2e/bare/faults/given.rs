//! Rules that a machine is given before it begins: options, profiles, QEMU's blkdebug files.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use faultvisor_tests::bare::Plan;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check_eq, tests};

use super::{Rig, step_by_step};
use crate::bare::image;
use crate::wrong_use::check_refused;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    rules_of_options_profiles_and_blkdebug_hold_from_the_first_request_on,
    a_profile_of_the_examples_makes_sectors_bad_until_they_are_written,
    a_rule_that_cannot_be_is_refused_before_the_guest_runs,
];

/// One of the examples.
const BAD_SECTORS: &str = include_str!("../../../../../../resources/profiles/bad-sectors.toml");

fn write(context: &Context, name: &str, text: &str) -> Result<String, Failure> {
    let path = context.path(name);
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// Plays steps one by one; those that fail are marked.
fn play(rig: &mut Rig, steps: &[(&str, bool)]) -> Result<(), Failure> {
    for (step, fails) in steps {
        rig.go()?;
        let fails = u64::from(*fails);
        rig.done()?
            .expect(1 - fails, fails, 0)
            .map_err(|failure| Failure::new(format!("{step}: {failure:?}")))?;
    }
    Ok(())
}

fn script(steps: &[(&str, bool)]) -> String {
    let steps: Vec<&str> = steps.iter().map(|(step, _)| *step).collect();
    step_by_step(&steps)
}

fn rules_of_options_profiles_and_blkdebug_hold_from_the_first_request_on(
    context: &Context,
) -> Result<(), Failure> {
    let steps = [
        ("read 0 0 8", true),
        ("write 0 0 8 3", false),
        ("write 0 16 8 3", true),
        ("write 0 16 8 3", false),
        ("flush 0", true),
        ("read 0 40 8", true),
        ("read 0 48 8", false),
    ];
    let disk = image(context, "disk", 1, 256)?;
    let conf =
        "[inject-error]\nevent = \"write_aio\"\nsector = \"20\"\nerrno = \"22\"\nonce = \"on\"\n";
    let conf = write(context, "rules.conf", conf)?;
    let profile = "[[rule]]\nid = \"no-flush\"\ndevice = \"d0\"\noperations = [\"flush\"]\naction = \"error\"\nerrno = \"ETIMEDOUT\"\n";
    let profile = write(context, "rules.toml", profile)?;
    let file = PathBuf::from(format!("blkdebug:{conf}:{}", disk.display()));
    let plan = Plan::new(context, &script(&steps))?
        .disk(&file, "id=d0,werror=report")
        .options(&[
            "--fault",
            "id=first,device=d0,operations=read,count=1,action=error,errno=EIO",
            "--fault-profile",
            &profile,
            "--fault",
            r#"{"id": "json", "device": "d0", "operations": ["read"], "sector": 47, "action": "error", "errno": 5}"#,
        ]);
    let mut rig = Rig::start(plan)?;
    play(&mut rig, &steps)?;
    let faults = rig.faults()?;
    let ids: Vec<_> = faults["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|rule| (rule["rule"]["id"].clone(), rule["hits"].clone()))
        .collect();
    let expected = ["blkdebug-d0-1", "first", "no-flush", "json"];
    check_eq!(ids, expected.map(|id| (id.into(), 1.into())));
    Ok(())
}

fn a_profile_of_the_examples_makes_sectors_bad_until_they_are_written(
    context: &Context,
) -> Result<(), Failure> {
    let steps = [
        ("read 0 2048 8", true),
        ("read 0 2040 8", false),
        ("write 0 2048 8 9", false),
        ("read 0 2048 8", false),
        ("read 0 4100 1", true),
        ("write 0 8192 1 9", true),
    ];
    let disk = image(context, "disk", 1, 8200)?;
    let profile = write(context, "bad-sectors.toml", BAD_SECTORS)?;
    let plan = Plan::new(context, &script(&steps))?
        .disk(&disk, "id=disk0,werror=report")
        .options(&["--fault-profile", &profile]);
    let mut machine = plan.start()?;
    for (step, fails) in steps {
        machine.report("choose")?;
        machine.machine.console().type_text("c")?;
        let fails = u64::from(fails);
        machine
            .report("done")?
            .expect(1 - fails, fails, 0)
            .map_err(|failure| Failure::new(format!("{step}: {failure:?}")))?;
    }
    Ok(())
}

fn a_rule_that_cannot_be_is_refused_before_the_guest_runs(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 256)?;
    let typo = "[[rule]]\ndevice = \"d0\"\naction = \"hang\"\nprobabilty = 0.5\n";
    let typo = write(context, "typo.toml", typo)?;
    let event = write(context, "l2.conf", "[inject-error]\nevent = \"l2_load\"\n")?;
    let nonsense = write(context, "nonsense.log", "{}\n")?;
    let plain = format!("file={},format=raw,id=d0", disk.display());
    let drive = |options: &[&str]| {
        let command = Plan::new(context, "exit off")?.into_command();
        Ok::<_, Failure>(with(command, &[&["--drive", &plain], options].concat()))
    };
    check_refused(
        &mut drive(&["--fault-profile", &typo])?,
        &format!("{typo}:4: unknown key 'probabilty'; did you mean 'probability'?"),
    )?;
    check_refused(
        &mut drive(&["--fault", "device=d0,action=hang,sector=250,sectors=7"])?,
        "--fault: sectors 250 to 256 are not all on the disk, which has 256",
    )?;
    check_refused(
        &mut drive(&["--fault", "device=d1,action=hang"])?,
        "--fault: there is no drive 'd1'",
    )?;
    check_refused(
        &mut drive(&["--fault-replay", &nonsense])?,
        &format!("--fault-replay: {nonsense}:1: missing field `device` at line 1 column 2"),
    )?;
    let drive = format!("file=blkdebug:{event}:{},format=raw,id=d0", disk.display());
    let command = Plan::new(context, "exit off")?.into_command();
    check_refused(
        &mut with(command, &["--drive", &drive]),
        &format!("{event}:2: event 'l2_load' has no counterpart here"),
    )
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}
