//! Executes a line of the shell.

use std::rc::Rc;
use std::sync::mpsc::Sender;

use libqmp::AnyEvent;

use super::builtin::{self, Builtin};
use crate::client::{Band, Client};
use crate::failure::Failure;
use crate::help;
use crate::output::{self, Output};
use crate::request::Request;
use crate::watch::{self, Selection};
use crate::words;

/// Whether the shell reads another line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Next,
    /// The user leaves.
    Leave,
}

/// Executes lines.
pub struct Interpreter {
    client: Rc<Client>,
    output: Output,
    /// The connections of `watch`.
    watched: Vec<AnyEvent>,
    /// Receives events, formatted.
    lines: Sender<String>,
}

impl Interpreter {
    /// An interpreter that watches nothing yet. Events are sent to `lines`, each with its newline.
    pub fn new(client: Rc<Client>, output: Output, lines: Sender<String>) -> Self {
        Self {
            client,
            output,
            watched: Vec::new(),
            lines,
        }
    }

    /// Executes a line and writes the answer.
    ///
    /// # Errors
    ///
    /// The line is invalid, or its command fails.
    pub fn perform(&mut self, line: &str) -> Result<Flow, Failure> {
        let words = words::split(line)?;
        let words: Vec<String> = words.into_iter().map(|word| word.text).collect();
        if let Some(request) = Request::from_words(&words)? {
            let answer = self.client.request(request)?;
            output::write(&self.output.answer(&answer))?;
            return Ok(Flow::Next);
        }
        match words.split_first() {
            None => {}
            Some((comment, _)) if comment.starts_with('#') => {}
            Some((band, command)) if band == "--oob" => self.execute_out_of_band(command)?,
            Some((name, arguments)) => match Builtin::of(name) {
                Some(Builtin::Help) => self.help(arguments)?,
                Some(Builtin::Watch) => self.watch(arguments)?,
                Some(Builtin::Unwatch) => self.unwatch()?,
                Some(Builtin::Quit) => return Ok(Flow::Leave),
                None => self.execute(name, arguments, Band::In)?,
            },
        }
        Ok(Flow::Next)
    }

    fn execute_out_of_band(&self, command: &[String]) -> Result<(), Failure> {
        match command.split_first() {
            Some((name, arguments)) => self.execute(name, arguments, Band::OutOf),
            None => Err(Failure::Usage("--oob: a command is missing".to_owned())),
        }
    }

    fn execute(&self, command: &str, arguments: &[String], band: Band) -> Result<(), Failure> {
        let answer = self.client.execute(command, arguments, band)?;
        Ok(output::write(&self.output.answer(&answer))?)
    }

    fn help(&self, names: &[String]) -> Result<(), Failure> {
        let introspection = self.client.introspection()?;
        let text = match names {
            [] => builtin::HELP.to_owned() + &help::overview(introspection),
            names => {
                let about = |name: &String| help::about(introspection, name);
                let texts: Result<Vec<String>, String> = names.iter().map(about).collect();
                texts.map_err(Failure::Usage)?.join("\n")
            }
        };
        Ok(output::write(&text)?)
    }

    /// Watches the selected events instead of those before.
    ///
    /// # Errors
    ///
    /// An event is unknown; the previous selection stays.
    pub fn watch(&mut self, words: &[String]) -> Result<(), Failure> {
        let (options, words): (Vec<&String>, Vec<&String>) =
            words.iter().partition(|word| word.starts_with("--"));
        if let Some(option) = options.iter().find(|option| **option != "--initial") {
            let error = format!("watch: there is no '{option}'; there is --initial");
            return Err(Failure::Usage(error));
        }
        let words: Vec<String> = words.into_iter().cloned().collect();
        let selection = Selection::from_words(&words, !options.is_empty())?;
        let (lines, output) = (self.lines.clone(), self.output);
        let watched = selection.connect(&self.client, move |event| {
            // The receiver is gone when the shell is left.
            let _ = lines.send(output.event(&watch::line(event)));
        })?;
        self.unwatch()?;
        self.watched = watched;
        Ok(())
    }

    /// Watches no events.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub fn unwatch(&mut self) -> Result<(), Failure> {
        for events in self.watched.drain(..) {
            events.put()?;
        }
        Ok(())
    }
}
