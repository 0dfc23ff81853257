//! A shell on a terminal.

use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::channel;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor, ExternalPrinter};

use super::Ending;
use super::editing::Assistant;
use super::events::Dispatcher;
use super::history;
use super::interpreter::{Flow, Interpreter};
use super::presence::{Absence, Presence, presence};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Output, on_one_line};
use crate::watch::Orderly;

const PROMPT: &str = "qmp> ";

type LineEditor = Editor<Assistant, FileHistory>;

/// Executes typed lines, until the user leaves.
///
/// # Errors
///
/// The connection has ended.
pub fn run(client: Client, output: Output) -> Result<Ending, Failure> {
    let client = Rc::new(client);
    let (mut editor, history) = editor(&client)?;
    let (presence, absence) = presence()?;
    let (sender, lines) = channel();
    let (show, ended) = sinks(&mut editor, absence);
    let dispatcher = Dispatcher::start(client.session().clone(), lines, show, ended)?;
    let mut shell = Shell {
        interpreter: Interpreter::new(Rc::clone(&client), output, sender),
        editor,
        history,
        presence,
    };
    output::write(&welcome(&client))?;
    let mut orderly = None;
    let ending = match shell.perform_lines(&client, &mut orderly) {
        Err(failure) if failure.is_end() && orderly.is_some_and(|by| by.was_announced()) => {
            output::write("The machine has shut down.\n")?;
            Ok(Ending::Well)
        }
        ending => ending,
    };
    let Shell {
        interpreter,
        editor,
        presence,
        ..
    } = shell;
    // Releases an event that waits to be shown above the next prompt.
    drop(editor);
    // Releases the thread that waits to report the server's end.
    drop(presence);
    drop(dispatcher);
    // Disconnects the events, if the connection has not ended.
    drop(interpreter);
    ending
}

type Show = Box<dyn FnMut(String) + Send>;
type Ended = Box<dyn FnOnce(libqmp::Error) + Send>;

/// The functions that show events and report the end.
fn sinks(editor: &mut LineEditor, absence: Absence) -> (Show, Ended) {
    match editor.create_external_printer() {
        Ok(mut printer) => {
            let show = move |line: String| {
                // A failed write to the terminal has nowhere to be reported.
                let _ = printer.print(line);
            };
            (Box::new(show), Box::new(|error| absence.tell(error)))
        }
        // A terminal without line editing: nothing can be shown above its prompt, and a signal does not interrupt the
        // wait.
        Err(_) => {
            let show = |line: String| {
                let _ = output::write(&line);
            };
            let ended = move |error| {
                absence.note(error);
            };
            (Box::new(show), Box::new(ended))
        }
    }
}

fn editor(client: &Rc<Client>) -> Result<(LineEditor, Option<PathBuf>), Failure> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(10_000)?
        .build();
    let mut editor = LineEditor::with_config(config)?;
    editor.set_helper(Some(Assistant::new(Rc::clone(client))));
    let history = history::file();
    if let Some(history) = &history {
        // The first shell finds no file.
        let _ = editor.load_history(history);
    }
    Ok((editor, history))
}

fn welcome(client: &Client) -> String {
    let version = &client.session().greeting().version;
    let qemu = &version.qemu;
    let package = match version.package.as_str() {
        "" => String::new(),
        package => format!(" ({})", on_one_line(package)),
    };
    format!(
        "Connected to QEMU {}.{}.{}{package}. 'help' says what there is; Ctrl-D leaves.\n",
        qemu.major, qemu.minor, qemu.micro
    )
}

struct Shell {
    interpreter: Interpreter,
    editor: LineEditor,
    history: Option<PathBuf>,
    presence: Presence,
}

impl Shell {
    /// `orderly` is set to the connection that tells an orderly end.
    fn perform_lines(
        &mut self,
        client: &Client,
        orderly: &mut Option<Orderly>,
    ) -> Result<Ending, Failure> {
        *orderly = Some(self.presence.call(|| Orderly::listen(client))??);
        let watching = self.presence.call(|| self.interpreter.watch(&[]))?;
        self.tell(watching.map(|()| Flow::Next))?;
        loop {
            self.presence.is_there()?;
            match self.editor.readline(PROMPT) {
                Ok(line) => {
                    self.remember(&line);
                    let performed = self.presence.call(|| self.interpreter.perform(&line))?;
                    if self.tell(performed)? == Flow::Leave {
                        return Ok(Ending::Well);
                    }
                }
                Err(ReadlineError::Eof) => return Ok(Ending::Well),
                // Ctrl-C drops the line. After a signal, check that the server is connected.
                Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reports a line's error, unless the connection has ended.
    fn tell(&self, performed: Result<Flow, Failure>) -> Result<Flow, Failure> {
        match performed {
            Err(failure) if !failure.is_end() => {
                let said = failure.to_string();
                // A failed write to stderr has nowhere to be reported.
                let _ = writeln!(io::stderr(), "{}", on_one_line(&said));
                Ok(Flow::Next)
            }
            performed => performed,
        }
    }

    fn remember(&mut self, line: &str) {
        let added = self.editor.add_history_entry(line);
        if let (Ok(true), Some(history)) = (added, &self.history) {
            // Without a writable file the history is this shell's only.
            let _ = self.editor.append_history(history);
        }
    }
}
