//! The format of the files, which is that of QEMU's `-readconfig`: sections with lines `key = "value"`.

use faultvisor_monitor::option_syntax::OptionError;

use crate::faults::error::Mistake;
use crate::faults::error::Problem;

/// The kind of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    InjectError,
    SetState,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        match name {
            "inject-error" => Some(Self::InjectError),
            "set-state" => Some(Self::SetState),
            _ => None,
        }
    }

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::InjectError => &[
                "event",
                "state",
                "iotype",
                "errno",
                "sector",
                "once",
                "immediately",
                "delay-ns",
            ],
            Self::SetState => &["event", "state", "new_state"],
        }
    }
}

/// A section.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) kind: Kind,
    /// The line of its heading.
    pub(super) line: usize,
    /// Keys, values, and their lines.
    entries: Vec<(&'a str, &'a str, usize)>,
}

impl<'a> Section<'a> {
    /// The line and the value of a key, if it is present.
    pub(super) fn take(&mut self, key: &str) -> Option<(usize, &'a str)> {
        let at = self.entries.iter().position(|(name, ..)| *name == key)?;
        let (_, value, line) = self.entries.swap_remove(at);
        Some((line, value))
    }
}

/// Splits a text into its sections.
pub(super) fn sections(text: &str) -> Result<Vec<Section<'_>>, Mistake> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if let Some(head) = content.strip_prefix('[') {
            sections.push(Section {
                kind: kind(head, line)?,
                line,
                entries: Vec::new(),
            });
            continue;
        }
        let Some((key, value)) = entry(content) else {
            let problem = "expected [inject-error], [set-state] or key = \"value\"";
            return Err(Mistake::syntax(line, problem));
        };
        let Some(section) = sections.last_mut() else {
            return Err(Mistake::syntax(
                line,
                format!("key '{key}' is in no section"),
            ));
        };
        let known = section.kind.keys();
        if !known.contains(&key) {
            let problem = Problem::unknown_key(key, known.iter().copied());
            return Err(Mistake { line, problem });
        }
        if section.entries.iter().any(|(name, ..)| *name == key) {
            let problem = OptionError::Twice(key.to_owned()).into();
            return Err(Mistake { line, problem });
        }
        section.entries.push((key, value, line));
    }
    Ok(sections)
}

/// The kind of a heading; a quoted name in it is ignored.
fn kind(head: &str, line: usize) -> Result<Kind, Mistake> {
    let Some((name, rest)) = head.split_once(']') else {
        return Err(Mistake::syntax(line, "the ']' is missing"));
    };
    if !is_remark(rest) {
        return Err(Mistake::syntax(
            line,
            format!("unexpected '{}'", rest.trim()),
        ));
    }
    let name = name.split_whitespace().next().unwrap_or_default();
    Kind::of(name).ok_or_else(|| {
        let problem = format!("unknown section [{name}]: expected [inject-error] or [set-state]");
        Mistake::syntax(line, problem)
    })
}

/// `key = "value"`.
fn entry(content: &str) -> Option<(&str, &str)> {
    let (key, rest) = content.split_once('=')?;
    let (value, rest) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
    let key = key.trim_end();
    let is_entry = !key.is_empty() && !key.contains(char::is_whitespace) && is_remark(rest);
    is_entry.then_some((key, value))
}

fn is_remark(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with('#')
}
