//! Rules given at start: options, profiles, QEMU's blkdebug files.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use faultvisor_tests::bare::{BareMachine, Plan, SOON};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use libqmp::BlockFaultErrnoName;
use serde_json::json;

use super::{Rig, step_by_step};
use crate::bare::image;
use crate::wrong_use::{check_refused, refused};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    rules_of_options_profiles_and_blkdebug_hold_from_the_first_request_on,
    a_profile_of_the_examples_makes_sectors_bad_until_they_are_written,
    an_invalid_rule_is_refused_before_the_guest_runs,
    a_power_cut_without_a_volatile_cache_is_warned_about,
    an_unfired_rule_is_reported_at_the_end_and_sets_the_exit_status_if_configured,
    options_and_the_shell_understand_one_language_of_rules,
];

/// An example profile.
const BAD_SECTORS: &str = include_str!("../../../../../../resources/profiles/bad-sectors.toml");

fn write(context: &Context, name: &str, text: &str) -> Result<String, Failure> {
    let path = context.path(name);
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// Executes steps one by one; those that fail are marked.
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

fn an_invalid_rule_is_refused_before_the_guest_runs(context: &Context) -> Result<(), Failure> {
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
        &mut drive(&["--fault", "device=d0,action=error,errno=ENOSPACE"])?,
        &format!(
            "--fault: errno=ENOSPACE: expected a number, or one of {}; did you mean 'ENOSPC'?",
            BlockFaultErrnoName::ALL
                .iter()
                .map(|name| name.name())
                .collect::<Vec<_>>()
                .join(", ")
        ),
    )?;
    check_refused(
        &mut drive(&["--fault", "device=d0,action=hang,probability=0"])?,
        "--fault: 'probability' is 0, which lets the rule never fire",
    )?;
    let read_only = format!("{plain},readonly=on");
    let mut read_only_drive = with(
        Plan::new(context, "exit off")?.into_command(),
        &[
            "--drive",
            &read_only,
            "--fault",
            "device=d0,operations=write,action=hang",
        ],
    );
    check_refused(
        &mut read_only_drive,
        "--fault: 'operations' has 'write', which a disk with readonly=on never has",
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

/// The lines with a word in the log of a machine that has ended.
fn lines(machine: &BareMachine, word: &str) -> Result<Vec<String>, Failure> {
    let deadline = machine.machine.started() + SOON;
    let text = machine.machine.messages().wait_for_end(deadline);
    let text = text.map_err(|_| Failure::new("the log does not end"))?;
    let about = text.lines().filter(|line| line.contains(word));
    Ok(about.map(str::to_owned).collect())
}

fn a_power_cut_without_a_volatile_cache_is_warned_about(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 256)?;
    let cut = "device=d0,operations=write,count=1,seed=1,action=power-cut,survive=random,then=quit";
    for (cache, expected) in [("volatile-cache=off", 2), ("volatile-cache=on", 0)] {
        let plan = Plan::new(context, "setup 0\nchoose\nwrite 0 0 8 3\nexit off")?
            .disk(&disk, &format!("id=d0,{cache}"))
            .options(&["--fault", cut]);
        let mut machine = plan.start()?;
        machine.report("choose")?;
        let client = machine.client()?;
        let again = json!({ "device": "d0", "operations": ["flush"], "action": "power-cut" });
        client.execute_with("block-fault-add", again)?;
        machine.machine.console().type_text("c")?;
        machine.ends_well()?;
        let lines = lines(
            &machine,
            "loses nothing of disk 'd0': its --drive needs volatile-cache=on",
        )?;
        check_eq!(lines.len(), expected);
    }
    Ok(())
}

fn an_unfired_rule_is_reported_at_the_end_and_sets_the_exit_status_if_configured(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 256)?;
    let fired = "id=fired,device=d0,operations=write,action=error,errno=EIO";
    let late = "id=late,device=d0,operations=write,skip=7,action=error,errno=EIO";
    for (rule, choice, status, said) in [
        (late, "warn", 0, 1),
        (late, "fail", 3, 1),
        (late, "ignore", 0, 0),
        (fired, "fail", 0, 0),
    ] {
        let plan = Plan::new(context, "setup 0\nwrite 0 0 8 3\nwrite 0 8 8 3\nexit off")?
            .disk(&disk, "id=d0,werror=report")
            .options(&["--fault", rule, "--fault-unfired", choice]);
        let mut machine = plan.start()?;
        machine.machine.expect_exit(status, SOON)?;
        let line = "rule 'late' of disk 'd0' never fired; it was about 2 requests";
        check_eq!(lines(&machine, line)?.len(), said);
    }
    Ok(())
}

/// Rules as typed after `qmp block-fault-add`, and after `--fault` with commas between the words.
const SPOKEN: [&[&str]; 7] = [
    &["operations=read,write", "action=error", "errno=EIO"],
    &[
        "operations.0=read",
        "operations.1=write",
        "action=error",
        "errno=5",
    ],
    &["operations=read", "operations=flush", "action=hang"],
    &[
        "sector=0x10",
        "sectors=1K",
        "action=stop",
        "probability=0.5",
    ],
    &["skip=2K", "action=error", "errno=EIO", "after=on"],
    &[
        "min-bytes=4k",
        "action=delay",
        "percentiles.0.percentile=100",
        "percentiles.0.microseconds=5",
    ],
    &["action=corrupt", "pattern=00ff", "offset=4"],
];

/// Rules that both refuse.
const UNSPOKEN: [&[&str]; 6] = [
    &["operations=read,erase", "action=hang"],
    &["action=error", "errno=EFOO"],
    &["action=hang", "sector=4Q"],
    &["action=hang", "probability=often"],
    &["action=error", "errno=EIO", "after=maybe"],
    &["action=hang", "colour=red"],
];

fn options_and_the_shell_understand_one_language_of_rules(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 2048)?;
    let options: Vec<String> = (0..)
        .zip(SPOKEN)
        .flat_map(|(number, words): (usize, _)| {
            let rule = format!("device=d0,id=option{number},seed=1,{}", words.join(","));
            ["--fault".to_owned(), rule]
        })
        .collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let script = step_by_step(&[]);
    let plan = Plan::new(context, &script)?
        .disk(&disk, "id=d0")
        .options(&options);
    let mut rig = Rig::start(plan)?;
    let add = |words: &[&str]| {
        let mut qmp = Command::new(context.qmp());
        qmp.arg("-s")
            .arg(format!("unix:{}", rig.machine.socket().display()));
        qmp.args(["block-fault-add", "device=d0", "seed=1"])
            .args(words);
        qmp.output()
    };
    for (number, words) in (0..).zip(SPOKEN) {
        let id = format!("id=shell{number}");
        let output = add(&[words, &[&id]].concat())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        check!(output.status.success(), "{words:?}: {said}");
    }
    for words in UNSPOKEN {
        check!(!add(words)?.status.success(), "{words:?}");
    }
    let rules = rig.faults()?["rules"].take();
    let of = |name: &str| -> Vec<serde_json::Value> {
        let rules = rules.as_array().into_iter().flatten();
        let rules = rules.filter_map(|rule| {
            let mut rule = rule["rule"].clone();
            let is_one = rule["id"].as_str()?.starts_with(name);
            rule["id"].take();
            is_one.then_some(rule)
        });
        rules.collect()
    };
    check_eq!(of("option").len(), SPOKEN.len());
    check_eq!(of("option"), of("shell"));
    for words in UNSPOKEN {
        let rule = format!("device=d0,{}", words.join(","));
        let plan = Plan::new(context, "exit off")?.disk(&disk, "id=d0,file.locking=off");
        let text = refused(plan.options(&["--fault", &rule]).into_command().arg("-S"))?;
        check!(text.starts_with("faultvisor: --fault: "), "{text}");
    }
    rig.simply("quit")?;
    rig.ends_well()
}
