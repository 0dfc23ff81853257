//! Command lines and their meaning, and the errors of invalid ones.

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
    assert_eq!(error, "unknown option '-kernle'; did you mean '--kernel'?");
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
    let cpus = "--smp: cpus=0: expected a number of vCPUs from 1 to 64";
    assert_eq!(error("--smp", "0"), cpus);
    let drive = "--drive: unknown key 'werorr'; did you mean 'werror'?";
    assert_eq!(error("--drive", "file=x,werorr=stop"), drive);
    assert_eq!(
        error("--sandbox", "maybe"),
        "--sandbox: enable=maybe: expected on or off"
    );
}

#[test]
fn threads_are_confined_unless_the_command_line_says_otherwise() {
    let sandbox = |rest: &[&str]| run(&[&["--kernel", "k"], rest].concat()).unwrap().sandbox;
    assert!(sandbox(&[]) && sandbox(&["--sandbox", "on"]));
    assert!(!sandbox(&["-sandbox", "off"]));
}

#[test]
fn help_and_version_are_printed_and_no_error() {
    let help = run(&["--help"]).unwrap_err();
    assert!(help.contains("--drive <KEYS>"), "{help}");
    // Two lines an option, and what is around them.
    assert!(help.lines().count() < 64, "{help}");
    assert!(help.lines().all(|line| line.len() < 180), "{help}");
    assert!(run(&["-version"]).unwrap_err().starts_with("faultvisor "));
    let drive = run(&["--help", "drive"]).unwrap_err();
    assert!(
        drive.contains("\n  werror=report|ignore|enospc|stop\n"),
        "{drive}"
    );
    for arguments in [
        ["-help", "--drive"].as_slice(),
        &["-h", "drive"],
        &["--help=drive"],
    ] {
        assert_eq!(run(arguments).unwrap_err(), drive);
    }
    let unknown = run(&["--help", "drvie"]).unwrap_err();
    assert_eq!(
        unknown,
        "--help: there is no option 'drvie'; did you mean 'drive'?"
    );
    let kernel = run(&["--help", "kernel"]).unwrap_err();
    assert!(
        kernel.starts_with("--kernel FILE: Kernel to boot"),
        "{kernel}"
    );
    let switch = run(&["--help", "-S"]).unwrap_err();
    assert!(switch.starts_with("-S: Do not start the vCPUs"), "{switch}");
}

#[test]
fn examples_of_the_help_are_understood() {
    for topic in &topics::TOPICS {
        for example in topic.examples {
            let (option, value) = example.split_once(' ').unwrap();
            let value = value.trim_matches('\'');
            let drive = "file=x,id=disk0";
            let arguments = match option {
                "--drive" if value.contains("blkdebug") => continue,
                "--drive" => vec!["--kernel", "k", option, value],
                _ => vec!["--kernel", "k", "--drive", drive, option, value],
            };
            run(&arguments).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }
}

/// Every key of an option stands in its help, and no other.
#[test]
fn help_names_the_keys_that_there_are() {
    let drive = topics::text("drive").unwrap();
    let known = drive::keys();
    let in_help = |key: &str| drive.contains(&format!("{key}="));
    // Short names, and those that are told of as a family.
    let is_shown = |key: &&&str| {
        let family = key.starts_with("throttling.") && key.matches('-').count() > 1;
        let short =
            !key.starts_with("throttling.") && (key.starts_with("bps") || key.starts_with("iops"));
        let so_anyway = ["copy-on-read", "detect-zeroes", "group"].contains(*key);
        !family && !short && !so_anyway && !key.ends_with("-read") && !key.ends_with("-write")
    };
    let missing: Vec<_> = known
        .iter()
        .filter(is_shown)
        .filter(|key| !in_help(key))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let forms = topics::TOPICS
        .iter()
        .find(|topic| topic.option == "drive")
        .unwrap()
        .lines;
    for (form, _) in forms {
        for pair in form.split(", ") {
            let (key, _) = pair.split_once('=').unwrap();
            assert!(known.contains(&key), "{key}");
        }
    }
}

/// What a command line is, for each kind of it: accepted, or refused with these lines.
const COMMAND_LINES: &[(&[&str], Result<(), &str>)] = &[
    (&[], Ok(())),
    (&["-nodefaults", "-no-user-config", "-enable-kvm"], Ok(())),
    (
        &["-display", "none", "-monitor", "none", "-vga", "none"],
        Ok(()),
    ),
    (&["-nographic", "-cpu", "host", "-accel", "kvm"], Ok(())),
    (
        &["-nic", "none", "-net", "none", "-parallel", "none"],
        Ok(()),
    ),
    (&["--display=none", "-machine", "accel=kvm"], Ok(())),
    (
        &["-smp", "2,cores=2", "-m", "size=1G,slots=0,maxmem=1G"],
        Ok(()),
    ),
    (&["-m2G"], Ok(())),
    (&["-m", "1G", "--smp=4"], Ok(())),
    (&["-append", ""], Ok(())),
    (&["-name", "guest=foo,debug-threads=on"], Ok(())),
    (&["-drive", "file=x,if=virtio,index=0,media=disk"], Ok(())),
    (
        &["-s", "--bogus", "value", "-usb"],
        Err(
            "-s: there is no server for gdb\nfaultvisor: unknown option '--bogus'\nfaultvisor: -usb: there is no such device",
        ),
    ),
    (
        &["-x", "--no-rebot", "-dirve", "file=x"],
        Err("unknown option '-x'\n\
             faultvisor: unknown option '--no-rebot'; did you mean '--no-reboot'?\n\
             faultvisor: unknown option '-dirve'; did you mean '--drive'?"),
    ),
    (
        &["-nodefault"],
        Err("unknown option '-nodefault'; did you mean '--nodefaults'?"),
    ),
    (
        &["-device", "virtio-blk-pci,drive=d0"],
        Err(
            "-device: a --drive is a virtio-blk disk by itself, with the device's properties among its keys (see --help \
             drive): --drive file=PATH,format=raw,id=ID",
        ),
    ),
    (
        &["-device", "e1000"],
        Err(
            "-device: there is no device 'e1000': a machine has disks, by --drive, and a serial port, by --serial",
        ),
    ),
    (
        &["-hda", "disk.img"],
        Err("-hda: disks are virtio-blk: --drive file=disk.img"),
    ),
    (
        &["-cpu", "Skylake-Server"],
        Err("-cpu: the guest has the host's CPU, as with -cpu host (accepted: host, max)"),
    ),
    (
        &["-display", "gtk"],
        Err("-display: there is no display: the guest's output is on --serial (accepted: none)"),
    ),
    (
        &["-accel", "tcg"],
        Err(
            "-accel: there is one kind of machine, with KVM: leave it out (accepted: kvm, accel=kvm)",
        ),
    ),
    (&["-enable-kvm=on"], Err("-enable-kvm: takes no value")),
    (
        &["--no-reboot=on"],
        Err("option '--no-reboot' takes no value"),
    ),
    (&["-initrd", ""], Err("option '-initrd' needs a value")),
    (&["-initrd"], Err("option '-initrd' needs a value")),
    (
        &["-serial", "null", "-serial", "stdio"],
        Err("--serial: there is one serial port, and it is given twice"),
    ),
    (
        &["-nographic", "-qmp", "stdio"],
        Err("--serial and --qmp cannot both be on stdio"),
    ),
    (
        &["-m", "1G,maxmem=2G"],
        Err("-m: maxmem=2G: memory cannot be added; expected 1G"),
    ),
    (
        &["-m", "1G,slots=2"],
        Err("-m: slots=2: memory cannot be added; expected 0"),
    ),
    (
        &["-fault-unfired", "maybe"],
        Err("--fault-unfired: expected warn, fail or ignore"),
    ),
    (
        &["-smp", "4,threads=2"],
        Err("--smp: threads=2: each vCPU is a core of one package with one thread; expected 1"),
    ),
];

#[test]
fn a_command_line_is_accepted_or_refused_with_all_that_is_wrong() {
    for (arguments, expected) in COMMAND_LINES {
        let all = [&["-kernel", "k"], *arguments].concat();
        let got = run(&all).map(|_| ());
        assert_eq!(got, expected.map_err(str::to_owned), "{arguments:?}");
    }
}

#[test]
fn an_argument_that_is_not_utf_8_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let raw = |text: &[u8]| OsString::from_vec(text.to_vec());
    let all = [
        b"faultvisor".as_slice(),
        b"--kernel",
        b"/k\xff",
        b"\xfe",
        b"--initrd=\xfd",
    ];
    let error = parse(all.map(raw)).unwrap_err().to_string();
    let expected = "--kernel: \"/k\\xFF\" is not UTF-8\nfaultvisor: argument 3 is not UTF-8: \"\\xFE\"\n\
                    faultvisor: argument 4 is not UTF-8: \"--initrd=\\xFD\"";
    assert_eq!(error, expected);
}

#[test]
fn a_repeated_option_is_noted() {
    let twice = ["--kernel", "k", "-append", "a", "--append", "b", "-m", "1G"];
    let configuration = run(&twice).unwrap();
    assert_eq!(configuration.append, "b");
    let note = "--append is given 2 times, and only the last counts";
    assert_eq!(configuration.notes, [note]);
    assert!(
        run(&["--kernel", "k", "-qmp", "unix:a", "-qmp", "unix:b"])
            .unwrap()
            .notes
            .is_empty()
    );
}

proptest::proptest! {
    #[test]
    fn no_command_line_makes_the_parser_panic(
        words in proptest::collection::vec("(-{0,2}(kernel|m|smp|drive|fault|S|help|nographic|device|x)?(=|,)?)?\\PC{0,6}", 0..8)
    ) {
        let _ = parse(std::iter::once("faultvisor".to_owned()).chain(words).map(OsString::from));
    }
}
