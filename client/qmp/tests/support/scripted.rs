//! A server with scripted answers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

/// QEMU's greeting: no accessors.
pub const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 9}, "package": ""}, "capabilities": []}}"#;

/// Serves one client: greets it, negotiates, and answers each command with what `answer` returns for its name, `ID`
/// standing for the command's id. The connection stays open.
pub fn serve_one(answer: impl Fn(&str) -> Option<String> + Send + 'static) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("scripted.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        converse(&client, &answer);
    });
    (directory, path)
}

fn converse(mut client: &UnixStream, answer: &impl Fn(&str) -> Option<String>) {
    client
        .write_all(format!("{GREETING}\r\n").as_bytes())
        .unwrap();
    for line in BufReader::new(client).lines().map_while(Result::ok) {
        let request: Value = serde_json::from_str(&line).unwrap();
        let said = match request["execute"].as_str().unwrap() {
            "qmp_capabilities" => r#"{"return": {}, "id": ID}"#.to_owned(),
            "disable-default-events" => {
                r#"{"error": {"class": "CommandNotFound", "desc": "no"}, "id": ID}"#.to_owned()
            }
            name => match answer(name) {
                Some(answer) => answer,
                None => return,
            },
        };
        let said = said.replace("ID", &request["id"].to_string());
        if client.write_all(format!("{said}\r\n").as_bytes()).is_err() {
            return;
        }
    }
}
