//! Kills what descends from a process, by what `/proc` says.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::group::MARK;

/// How often it is looked for processes that were started meanwhile.
const ROUNDS: usize = 100;

#[derive(Debug, Clone, Copy)]
struct Process {
    parent: i32,
    group: i32,
    session: i32,
    is_dead: bool,
}

/// Kills the processes of a session's leader: those of its session, its descendants, and those with its mark in their
/// environment. It may have ended, and its children may have another parent.
pub fn kill(leader: Pid, mark: &str) {
    let mark = format!("{MARK}={mark}");
    for _ in 0..ROUNDS {
        let victims = find(leader.as_raw_nonzero().get(), mark.as_bytes());
        if victims.is_empty() {
            return;
        }
        for victim in victims {
            // It may have ended.
            let _ = kill_process(victim, Signal::KILL);
        }
    }
}

fn find(leader: i32, mark: &[u8]) -> Vec<Pid> {
    let processes = processes();
    let is_member = |id: &i32, process: &Process| {
        let is_in = *id == leader || process.session == leader || process.group == leader;
        is_in || descends(&processes, *id, leader) || has_mark(*id, mark)
    };
    let living = processes.iter().filter(|(_, process)| !process.is_dead);
    let members = living.filter(|(id, process)| is_member(id, process));
    members.filter_map(|(id, _)| Pid::from_raw(*id)).collect()
}

fn descends(processes: &HashMap<i32, Process>, mut id: i32, ancestor: i32) -> bool {
    // What is read one after the other may be a circle.
    for _ in 0..processes.len() {
        let Some(process) = processes.get(&id) else {
            return false;
        };
        if process.parent == ancestor {
            return true;
        }
        id = process.parent;
    }
    false
}

fn has_mark(id: i32, mark: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark)
}

fn processes() -> HashMap<i32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: i32| {
        let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
        Some((id, parse(&String::from_utf8_lossy(&stat))?))
    })
    .collect()
}

/// Parses `/proc/PID/stat`, whose second field is a name with any characters.
fn parse(stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    Some(Process {
        parent: number()?,
        group: number()?,
        session: number()?,
        is_dead: matches!(state, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_any_characters_moves_no_field() {
        let process = parse("7 (a) Z 1 (b) R 3 4 5 0 -1").unwrap();
        assert_eq!((process.parent, process.group, process.session), (3, 4, 5));
        assert!(!process.is_dead);
        assert!(parse("7 (a) Z").is_none());
    }
}
