//! The words of a command line: its options and their values, before any value is parsed.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::UsageError;
use super::definition::{REPEATABLE, SWITCHES, WITH_VALUE};
use super::qemu::{self, Answer};
use faultvisor_monitor::option_syntax::nearest;

/// The length of a word that an error quotes, in characters.
const SHOWN: usize = 60;

/// A command line, split into options.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Values by option, each with its position.
    values: BTreeMap<&'static str, Vec<(usize, String)>>,
    switches: Vec<&'static str>,
    /// QEMU's `-nographic`.
    pub nographic: bool,
}

/// The request of a command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// A machine.
    Machine(Words),
    /// `--help`, with its topic.
    Help(Option<String>),
    /// `--version`.
    Version,
}

impl Words {
    /// The value of an option that counts once: the last one, as in QEMU.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let all = self.values.get(name)?;
        all.last().map(|(_, value)| value.as_str())
    }

    /// The values of an option, with their positions, in order.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = (usize, &str)> {
        let all = self.values.get(name).into_iter().flatten();
        all.map(|(place, value)| (*place, value.as_str()))
    }

    /// Whether a switch is present.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.switches.contains(&name)
    }

    /// Warnings about options that are repeated and count once.
    pub(super) fn notes(&self) -> Vec<String> {
        let repeated = self
            .values
            .iter()
            .filter(|(name, values)| !REPEATABLE.contains(name) && values.len() > 1);
        let note = |(name, values): (&&'static str, &Vec<_>)| {
            let (option, times) = (typed(name), values.len());
            format!("{option} is given {times} times, and only the last counts")
        };
        repeated.map(note).collect()
    }
}

/// An option as typed.
pub(super) fn typed(name: &str) -> String {
    match name.len() {
        1 => format!("-{name}"),
        _ => format!("--{name}"),
    }
}

/// Splits a command line. Options have one dash or two, and a value behind a space or `=`.
///
/// # Errors
///
/// [`UsageError`] names every unusable option, not only the first.
pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Spoken, UsageError> {
    let mut reader = Reader::default();
    // Without the program's name.
    let mut rest = arguments.into_iter().skip(1).enumerate().peekable();
    while let Some((place, argument)) = rest.next() {
        let word = match argument.into_string() {
            Ok(word) => word,
            Err(raw) => {
                reader.refuse(format!(
                    "argument {} is not UTF-8: {}",
                    place + 1,
                    shown(&raw)
                ));
                continue;
            }
        };
        let Some(option) = Typed::of(&word) else {
            reader.refuse(format!("unexpected argument '{word}'"));
            continue;
        };
        match option.name {
            "help" | "h" => {
                let topic = option.value.map(str::to_owned);
                let next = || {
                    rest.next()
                        .map(|(_, next)| next.to_string_lossy().into_owned())
                };
                return Ok(Spoken::Help(topic.or_else(next)));
            }
            "version" => return Ok(Spoken::Version),
            _ => {}
        }
        let needs = option.needs();
        let value = match (option.value, needs) {
            (Some(value), _) => Some(value.to_owned()),
            (None, Needs::Nothing) => None,
            (None, Needs::Value) => match rest.next() {
                Some((_, next)) => match next.into_string() {
                    Ok(next) => Some(next),
                    Err(raw) => {
                        reader.refuse(format!("{word}: {} is not UTF-8", shown(&raw)));
                        continue;
                    }
                },
                None => None,
            },
            (None, Needs::Unknown) => {
                // The word behind an unknown option is most likely its value.
                let is_value =
                    |(_, next): &(usize, OsString)| !next.to_string_lossy().starts_with('-');
                rest.next_if(is_value);
                None
            }
        };
        reader.option(&option, place, value);
    }
    reader.finish().map(Spoken::Machine)
}

/// Whether a word follows an option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Value,
    Nothing,
    Unknown,
}

/// An option, as typed.
struct Typed<'a> {
    typed: &'a str,
    name: &'a str,
    /// The rest of its word.
    value: Option<&'a str>,
}

impl<'a> Typed<'a> {
    fn of(word: &'a str) -> Option<Self> {
        let bare = word.strip_prefix('-')?;
        let bare = bare.strip_prefix('-').unwrap_or(bare);
        if bare.is_empty() {
            return None;
        }
        // `-m512M`, as in many scripts.
        let size = bare.strip_prefix('m');
        if let Some(size) = size.filter(|size| size.starts_with(|c: char| c.is_ascii_digit())) {
            let (typed, name) = (&word[..word.len() - size.len()], "m");
            return Some(Self {
                typed,
                name,
                value: Some(size),
            });
        }
        let (name, value) = match bare.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (bare, None),
        };
        let typed = value.map_or(word, |value| &word[..word.len() - value.len() - 1]);
        Some(Self { typed, name, value })
    }

    fn needs(&self) -> Needs {
        if known(self.name, WITH_VALUE.iter().map(|(name, ..)| *name)).is_some() {
            Needs::Value
        } else if known(self.name, SWITCHES.iter().map(|(name, _)| *name)).is_some() {
            Needs::Nothing
        } else {
            match qemu::takes_value(self.name) {
                Some(true) => Needs::Value,
                Some(false) => Needs::Nothing,
                None => Needs::Unknown,
            }
        }
    }
}

fn known(name: &str, mut among: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    among.find(|known| *known == name)
}

#[derive(Default)]
struct Reader {
    words: Words,
    problems: Vec<String>,
}

impl Reader {
    fn refuse(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn option(&mut self, option: &Typed<'_>, place: usize, value: Option<String>) {
        let typed = option.typed;
        if let Some(name) = known(option.name, WITH_VALUE.iter().map(|(name, ..)| *name)) {
            let other_device = match (name, &value) {
                ("device", Some(value)) => qemu::other_device(value),
                _ => None,
            };
            if let Some(reason) = other_device {
                return self.refuse(format!("{typed}: {reason}"));
            }
            match value.filter(|value| !value.is_empty() || name == "append") {
                Some(value) => self
                    .words
                    .values
                    .entry(name)
                    .or_default()
                    .push((place, value)),
                None => self.refuse(format!("option '{typed}' needs a value")),
            }
        } else if let Some(name) = known(option.name, SWITCHES.iter().map(|(name, _)| *name)) {
            match option.value {
                None => self.words.switches.push(name),
                Some(_) => self.refuse(format!("option '{typed}' takes no value")),
            }
        } else {
            match qemu::answer(option.name, value.as_deref()) {
                Some(Answer::True) => self.words.nographic |= option.name == "nographic",
                Some(Answer::No(reason)) => self.refuse(format!("{typed}: {reason}")),
                None => self.refuse(unknown(typed, option.name)),
            }
        }
    }

    fn finish(self) -> Result<Words, UsageError> {
        match self.problems.is_empty() {
            true => Ok(self.words),
            false => Err(UsageError(self.problems)),
        }
    }
}

fn unknown(typed: &str, name: &str) -> String {
    let own = WITH_VALUE.iter().map(|(name, ..)| *name);
    let own = own.chain(SWITCHES.iter().map(|(name, _)| *name));
    let words = own.chain(qemu::accepted()).chain(["help", "version"]);
    match nearest(name, words.filter(|word| word.len() > 1)) {
        Some(near) => format!(
            "unknown option '{typed}'; did you mean '{}'?",
            self::typed(near)
        ),
        None => format!("unknown option '{typed}'"),
    }
}

/// A word that is not valid text, as far as it can be shown.
fn shown(raw: &OsString) -> String {
    let debug = format!("{raw:?}");
    match debug.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &debug[..end]),
        None => debug,
    }
}
