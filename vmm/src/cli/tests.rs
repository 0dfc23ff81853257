//! What command lines mean, and what is said of those that mean nothing.

use super::*;

fn run(arguments: &[&str]) -> Result<Configuration, String> {
    let all = ["faultvisor"].iter().chain(arguments).map(OsString::from);
    match parse(all) {
        Ok(Invocation::Run(configuration)) => Ok(*configuration),
        Ok(Invocation::Print(text)) => Err(text),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn one_dash_is_as_good_as_two() {
    let two = [
        "--kernel",
        "k",
        "-m",
        "1G",
        "--append",
        "-quiet",
        "--no-reboot",
        "-S",
    ];
    let one = [
        "-kernel",
        "k",
        "-m",
        "1G",
        "-append",
        "-quiet",
        "-no-reboot",
        "-S",
    ];
    for arguments in [two, one] {
        let configuration = run(&arguments).unwrap();
        assert_eq!(configuration.kernel, PathBuf::from("k"));
        assert_eq!(configuration.append, "-quiet");
        assert_eq!(configuration.memory, 1 << 30);
        assert_eq!(configuration.actions.reboot, RebootAction::Shutdown);
        assert!(configuration.start_stopped);
    }
}

#[test]
fn an_unknown_option_is_named_with_the_nearest_known_one() {
    let error = run(&["--kernel", "k", "--dirve", "file=x"]).unwrap_err();
    assert_eq!(error, "unknown option '--dirve'; did you mean '--drive'?");
    let error = run(&["-kernle", "k"]).unwrap_err();
    assert_eq!(error, "unknown option '--kernle'; did you mean '--kernel'?");
    let error = run(&["--kernel", "k", "stray"]).unwrap_err();
    assert_eq!(error, "unexpected argument 'stray'");
    assert_eq!(
        run(&["--kernel"]).unwrap_err(),
        "option '--kernel' needs a value"
    );
    assert_eq!(run(&["--append", "x"]).unwrap_err(), "--kernel is missing");
}

#[test]
fn an_action_changes_what_older_options_ask_for() {
    let before = ["--kernel", "k", "--no-shutdown", "--no-reboot"];
    let later = ["-action", "panic=pause", "--action", "shutdown=poweroff"];
    let actions = run(&[before.as_slice(), &later].concat()).unwrap().actions;
    assert_eq!(actions.reboot, RebootAction::Shutdown);
    assert_eq!(actions.shutdown, ShutdownAction::Poweroff);
    assert_eq!(actions.panic, faultvisor_schema::PanicAction::Pause);
    let error = run(&["--kernel", "k", "--action", "panic=maybe"]).unwrap_err();
    let expected = "--action: panic=maybe: expected pause, shutdown, exit-failure, none";
    assert_eq!(error, expected);
}

#[test]
fn more_than_one_vcpu_needs_acpi() {
    let error = run(&["--kernel", "k", "--smp", "2", "--no-acpi"]).unwrap_err();
    assert!(error.starts_with("only ACPI tells a guest"), "{error}");
    let configuration = run(&["--kernel", "k", "--no-acpi"]).unwrap();
    assert!(!configuration.acpi);
}

#[test]
fn two_drives_with_one_id_are_refused() {
    let arguments = [
        "--kernel",
        "k",
        "--drive",
        "file=a,id=d",
        "--drive",
        "file=b,id=d",
    ];
    assert_eq!(run(&arguments).unwrap_err(), "two drives have the id 'd'");
    let arguments = [
        "--kernel",
        "k",
        "--drive",
        "file=a,id=virtio1",
        "--drive",
        "file=b",
    ];
    assert_eq!(
        run(&arguments).unwrap_err(),
        "two drives have the id 'virtio1'"
    );
}

#[test]
fn standard_input_has_one_user() {
    let both = ["--kernel", "k", "--qmp", "stdio", "--serial", "stdio"];
    let error = "--serial and --qmp cannot both be on stdio";
    assert_eq!(run(&both).unwrap_err(), error);
    assert_eq!(run(&both[..4]).unwrap().serial, SerialPort::Null);
    assert_eq!(run(&both[..2]).unwrap().serial, SerialPort::Stdio);
}

#[test]
fn rules_come_in_the_order_of_the_command_line_behind_those_of_the_drives() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rule = |id: &str| format!("id={id},device=d,action=hang");
    let profile = path(
        "p.toml",
        "[[rule]]\nid = \"b\"\ndevice = \"d\"\naction = \"drop\"\n",
    );
    let rules = path("r", "[inject-error]\nevent = \"read_aio\"\n");
    let drive = format!("id=d,file=blkdebug:{rules}:x");
    let arguments = |rest: &[&str]| {
        let first = [
            "--kernel",
            "k",
            "--fault",
            &rule("a"),
            "-fault-profile",
            &profile,
        ];
        run(&[&first, rest, &["--drive", &drive]].concat())
    };
    let configuration = arguments(&["-fault", &rule("c")]).unwrap();
    let ids: Vec<_> = configuration
        .faults
        .iter()
        .map(|given| given.rule.id.as_deref().unwrap())
        .collect();
    assert_eq!(ids, ["blkdebug-d-1", "a", "b", "c"]);
    let twice = arguments(&["--fault", &rule("b")]).unwrap_err();
    let expected = format!("--fault: the id 'b' is that of another rule ({profile}:1)");
    assert_eq!(twice, expected);
    let unknown = arguments(&["--fault", "device=e,action=hang"]).unwrap_err();
    assert_eq!(unknown, "--fault: there is no drive 'e'");
    let key = arguments(&["--fault", "device=d,action=hang,erno=1"]).unwrap_err();
    assert!(key.starts_with("--fault: unknown key 'erno'"), "{key}");
    let missing = arguments(&["--fault-profile", "/missing"]).unwrap_err();
    assert_eq!(missing, "/missing: No such file or directory");
}

#[test]
fn numbers_out_of_range_are_refused() {
    let error = |option, value| run(&["--kernel", "k", option, value]).unwrap_err();
    assert_eq!(
        error("-m", "0"),
        "-m: '0' is not a multiple of 4096 bytes above 0"
    );
    assert_eq!(
        error("-m", "12x"),
        "-m: '12x' is not a size such as 512M or 2G"
    );
    let odd = ["--kernel", "k", "-m", "3M", "-mem-hugepages"];
    assert_eq!(
        run(&odd).unwrap_err(),
        "-m: '3M' is not a multiple of 2 MiB, which --mem-hugepages needs"
    );
    let cpus = "--smp: '0' is not a number of vCPUs from 1 to 64";
    assert_eq!(error("--smp", "0"), cpus);
    let drive = "--drive: unknown key 'werorr'; did you mean 'werror'?";
    assert_eq!(error("--drive", "file=x,werorr=stop"), drive);
    assert_eq!(error("--sandbox", "maybe"), "--sandbox: expected on or off");
}

#[test]
fn threads_are_confined_unless_the_command_line_says_otherwise() {
    let sandbox = |rest: &[&str]| run(&[&["--kernel", "k"], rest].concat()).unwrap().sandbox;
    assert!(sandbox(&[]) && sandbox(&["--sandbox", "on"]));
    assert!(!sandbox(&["-sandbox", "off"]));
}

#[test]
fn help_and_version_are_printed_and_no_error() {
    assert!(run(&["--help"]).unwrap_err().contains("--drive <KEYS>"));
    assert!(run(&["-version"]).unwrap_err().starts_with("faultvisor "));
}
