//! C programs that use the library, under valgrind.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;
use std::process::Command;
use std::{fs, thread};

use serde_json::{Value, json};
use support::machine::Server;
use support::script::Scripted;
use support::{Workshop, source};

#[test]
fn a_client_executes_commands_and_receives_events_without_a_leak() {
    let workshop = Workshop::new();
    let server = Server::new();
    let said = workshop.run_checked(&workshop.program("client.c"), &[server.path.as_os_str()]);
    assert!(said.contains("disk 'disk0': nospace, no medium"), "{said}");
}

#[test]
fn unions_lists_and_optional_members_go_both_ways() {
    let workshop = Workshop::new();
    let server = Server::new();
    workshop.run_checked(&workshop.program("faults.c"), &[server.path.as_os_str()]);
}

#[test]
fn misuse_is_refused_by_name() {
    let workshop = Workshop::new();
    let server = Server::new();
    workshop.run_checked(&workshop.program("misuse.c"), &[server.path.as_os_str()]);
}

#[test]
fn objects_sessions_and_servers_may_end_in_any_order() {
    let workshop = Workshop::new();
    let server = Server::new();
    let path = server.path.clone();
    let hanging_up = thread::spawn(|| server.hang_up_on_quit());
    workshop.run_checked(&workshop.program("lifetimes.c"), &[path.as_os_str()]);
    hanging_up.join().unwrap();
}

#[test]
fn many_threads_share_a_session() {
    let workshop = Workshop::new();
    let server = Server::new();
    workshop.run_checked(&workshop.program("threads.c"), &[server.path.as_os_str()]);
}

#[test]
fn a_program_is_started_with_its_arguments_and_a_socket() {
    let workshop = Workshop::new();
    let file = workshop.path().join("arguments");
    // Not under valgrind: Debian 12's does not know pidfd_open(2), by which the child is watched.
    workshop.run(&workshop.program("spawn.c"), &[file.as_os_str()]);
    let arguments = fs::read(file).unwrap();
    assert!(
        arguments.starts_with(b"a b\n\xff\n--qmp\nfd:"),
        "{:?}",
        arguments.escape_ascii().to_string()
    );
}

#[test]
fn a_cxx_program_uses_the_library() {
    let workshop = Workshop::new();
    let server = Server::new();
    let said = workshop.run_checked(&workshop.program("shape.cc"), &[server.path.as_os_str()]);
    assert_eq!(said, "paused\n");
}

#[test]
fn a_program_links_the_library_statically() {
    let workshop = Workshop::new();
    let server = Server::new();
    let private = include_str!("../libqmp.pc.in")
        .lines()
        .find_map(|line| line.strip_prefix("Libs.private: "));
    let libraries: Vec<&str> = ["-l:libqmp.a"]
        .into_iter()
        .chain(private.unwrap().split(' '))
        .collect();
    let program = workshop.link(&source("client.c"), &libraries);
    fs::remove_file(workshop.path().join("libqmp.so.1")).unwrap();
    workshop.run(&program, &[server.path.as_os_str()]);
}

/// The output of `pkg-config` for the library under a prefix.
fn pkg_config(prefix: &Path, arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    let output = command.args(arguments).arg("libqmp").output();
    let output = output.expect("this test needs 'pkg-config'; Debian's package is 'pkgconf'");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn pkg_config_finds_the_installed_library() {
    let workshop = Workshop::new();
    let server = Server::new();
    let prefix = workshop.path().join("prefix");
    for directory in ["include", "lib/pkgconfig"] {
        fs::create_dir_all(prefix.join(directory)).unwrap();
    }
    fs::rename(
        workshop.path().join("libqmp.h"),
        prefix.join("include/libqmp.h"),
    )
    .unwrap();
    for library in ["libqmp.so", "libqmp.a"] {
        fs::rename(
            workshop.path().join(library),
            prefix.join("lib").join(library),
        )
        .unwrap();
    }
    let template = include_str!("../libqmp.pc.in")
        .replace("@PREFIX@", prefix.to_str().unwrap())
        .replace("@VERSION@", "1.2.3");
    assert!(!template.contains('@'), "{template}");
    fs::write(prefix.join("lib/pkgconfig/libqmp.pc"), template).unwrap();
    assert_eq!(pkg_config(&prefix, &["--modversion"]), ["1.2.3"]);
    assert!(pkg_config(&prefix, &["--static", "--libs"]).contains(&"-lm".to_owned()));
    let flags = pkg_config(&prefix, &["--cflags", "--libs"]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let program = workshop.link(&source("client.c"), &flags);
    workshop.run(&program, &[server.path.as_os_str()]);
}

/// Answers and events with the schema's names and violations of its types.
fn outrage(command: &str) -> Option<(Vec<Value>, Value)> {
    let reset = |data: Value| {
        let timestamp = json!({"seconds": 1, "microseconds": 2});
        json!({"event": "RESET", "data": data, "timestamp": timestamp})
    };
    let answer = match command {
        "query-status" => json!({"running": 1, "status": "running"}),
        "query-block" => json!([{
            "device": "", "type": "", "removable": true, "locked": true, "io-status": "strange"
        }]),
        "query-version" => json!({"package": "x"}),
        "query-name" => json!({"name": "x".repeat(200_000), "unknown": [{}]}),
        "query-commands" => Value::Array(vec![json!({"name": "x"}); 5_000]),
        "system_reset" => {
            return Some((
                vec![],
                json!({"error": {"class": "Strange", "desc": "for no reason"}}),
            ));
        }
        "cont" => {
            let events = vec![
                reset(json!({"guest": true, "reason": "strange"})),
                reset(json!({"guest": true, "reason": "guest-reset", "unknown": 1})),
                reset(json!({})),
            ];
            return Some((events, json!({"return": {}})));
        }
        "query-qmp-schema" => json!([{"name": "RESET", "meta-type": "event", "arg-type": "1"}]),
        "qmp_capabilities" => json!({}),
        "quit" => return None,
        _ => {
            let error = json!({"class": "CommandNotFound", "desc": command});
            return Some((vec![], json!({"error": error})));
        }
    };
    Some((vec![], json!({"return": answer})))
}

#[test]
fn a_mismatch_is_an_error_and_a_large_answer_is_complete() {
    let workshop = Workshop::new();
    let server = Scripted::new(outrage);
    workshop.run_checked(&workshop.program("hostile.c"), &[server.path.as_os_str()]);
    server.join();
}

#[test]
fn valgrind_finds_what_is_not_freed() {
    let workshop = Workshop::new();
    let leak = workshop.path().join("leak.c");
    let text = "#include \"libqmp.h\"\nint main(void)\n{\n    QmpError *error;\n\
        return libqmp_stop(NULL, &error);\n}\n";
    fs::write(&leak, text).unwrap();
    let found = workshop.check(&workshop.link(&leak, &["-lqmp"]), &[]);
    assert!(found.is_err_and(|why| why.contains("definitely lost")));
}
