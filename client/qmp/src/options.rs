//! The command line of `qmp`.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::output::{Form, Output};

/// The syntax of arguments, for the end of the long help and for the manual.
const ARGUMENTS: &str = "\
Arguments:
  A command's arguments are key=value words, of the types that the server states (query-qmp-schema), or one JSON object: \
'{...}', @FILE, or - for standard input. JSON is sent unchanged.

  integer   42, 0x2a, -1; K, M, G and T multiply by powers of 1024
  boolean   on or true, off or false
  string    as written: id=42 is a string where the server expects one
  list      operations=read,write, or the key once for each element, or operations.0=read
  object    throttle.bps=1, or rule={...}
  union     as an object; the key that selects the branch, such as action=error, may come anywhere
  several   the first type that fits, a string only if no other does
  key:=JSON any value, sent unchanged, also for a key that introspection does not have

Output:
  On a terminal, an object or a list of objects is shown as a table, or with one value a line if that does not fit, and \
an empty answer is not shown. Any other answer, and any answer elsewhere than on a terminal, is JSON on several lines. \
The options --json, --pretty and --table override this.

Exit status:
  0   success
  1   the command or the connection failed; one line on standard error gives the reason
  2   wrong options, or arguments that do not fit the command";

/// A command-line client for QMP servers: Faultvisor's, and QEMU's.
///
/// Executes one command of the server and writes its answer. 'watch' shows events as they come, 'shell' executes
/// commands line by line, and 'help' says which commands there are and what arguments they take. A request as documents have
/// it, {"execute": ..., "arguments": {...}}, is executed as well.
#[derive(Debug, Parser)]
#[command(
    name = "qmp",
    version,
    after_long_help = ARGUMENTS,
    disable_help_subcommand = true,
    subcommand_negates_reqs = true,
    override_usage = "qmp -s SOCKET [OPTIONS] COMMAND [key=value... | JSON]\n       \
                      qmp -s SOCKET [OPTIONS] '{\"execute\": ...}'\n       \
                      qmp -s SOCKET [OPTIONS] watch [EVENT...] [device=DEVICE]\n       \
                      qmp -s SOCKET [OPTIONS] shell\n       \
                      qmp -s SOCKET [OPTIONS] help [COMMAND]"
)]
pub struct Options {
    /// Where the server is.
    #[command(flatten)]
    pub connection: ConnectionOptions,
    /// How answers are written.
    #[command(flatten)]
    pub form: FormOptions,
    /// Execute the command out of band: ahead of those that wait. The server must allow it for that command.
    #[arg(long)]
    pub oob: bool,
    /// What to do instead of executing a command.
    #[command(subcommand)]
    pub mode: Option<Mode>,
    /// A command of the server, and its arguments.
    #[arg(value_name = "COMMAND", required = true)]
    pub words: Vec<String>,
}

/// Where the server is.
#[derive(Debug, Args)]
pub struct ConnectionOptions {
    /// The server's address: unix:PATH, tcp:HOST:PORT, or the path of a socket, such as q.sock.
    #[arg(short, long, global = true, env = "QMP_SOCKET")]
    pub socket: Option<String>,
    /// Wait at most this long for each answer and for the server's greeting; 'watch' ends after it.
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Retry connecting for this long, for a server that is still starting.
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub wait: Option<Duration>,
}

/// How answers are written.
#[derive(Debug, Args)]
pub struct FormOptions {
    /// Write JSON on one line.
    #[arg(long, global = true, conflicts_with_all = ["pretty", "table"])]
    json: bool,
    /// Write JSON on several lines.
    #[arg(long, global = true, conflicts_with = "table")]
    pretty: bool,
    /// Write a table.
    #[arg(long, global = true)]
    table: bool,
}

impl FormOptions {
    /// Standard output in the chosen format.
    pub fn output(&self) -> Output {
        Output::standard(match (self.json, self.pretty, self.table) {
            (true, _, _) => Form::Json,
            (_, true, _) => Form::Pretty,
            (_, _, true) => Form::Table,
            _ => Form::Automatic,
        })
    }
}

/// What there is to do beside executing a command.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Show events until a signal.
    ///
    /// Connects to each event by its accessor, and disconnects at the end; a server without accessors, such as QEMU, sends
    /// its default events. Without EVENT, all events are shown. Each is one line: the time, the name, and the data; with
    /// --json one JSON object. If events were lost, their number comes before the next one.
    ///
    /// Ends, too, when the reader of its output is gone, or when the server ends: the latter is an error unless the server
    /// announced it by SHUTDOWN.
    Watch(WatchOptions),
    /// Execute commands line by line, with completion and history, and show events.
    ///
    /// Lines are as on the command line of qmp, with quotes as in a shell; JSON needs none. 'help' says more. Unless
    /// standard input is a terminal, there is no prompt, events are shown only after 'watch', and the exit status is 1 if
    /// a line has failed.
    Shell,
    /// Print the candidates for the last word of a command line, for shells' completions.
    #[command(hide = true)]
    Complete {
        /// The line up to the cursor, with the program's name.
        #[arg(allow_hyphen_values = true)]
        line: String,
    },
    /// List the server's commands and events, or describe one of them.
    Help {
        /// A command or an event.
        name: Option<String>,
    },
}

/// What to watch.
#[derive(Debug, Args)]
pub struct WatchOptions {
    /// Events, such as BLOCK_IO_ERROR; device=DEVICE selects one device.
    #[arg(value_name = "EVENT|device=DEVICE")]
    pub words: Vec<String>,
    /// Show the current state first.
    #[arg(long)]
    pub initial: bool,
    /// End after this many events. With --timeout, fewer are an error.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &[&str]) -> Result<Options, clap::error::ErrorKind> {
        let words = ["qmp"].iter().chain(words);
        Options::try_parse_from(words).map_err(|error| error.kind())
    }

    #[test]
    fn the_command_line_definition_is_valid() {
        Options::command().debug_assert();
    }

    #[test]
    fn options_stand_before_or_behind_the_command_and_its_arguments() {
        for words in [
            ["-s", "/s", "--json", "query-block", "a=1"],
            ["query-block", "a=1", "--json", "-s", "/s"],
        ] {
            let options = parse(&words).unwrap();
            assert_eq!(options.words, ["query-block", "a=1"]);
            assert_eq!(options.connection.socket.as_deref(), Some("/s"));
            assert!(options.form.json && options.mode.is_none());
        }
    }

    #[test]
    fn an_argument_named_like_a_subcommand_is_an_argument() {
        let options = parse(&["query-block", "watch", "shell"]).unwrap();
        assert_eq!(options.words, ["query-block", "watch", "shell"]);
        assert!(options.mode.is_none());
        assert_eq!(
            parse(&["x", "-", "a=-1"]).unwrap().words,
            ["x", "-", "a=-1"]
        );
    }

    #[test]
    fn watch_has_its_own_options_beside_the_general_ones() {
        let words = [
            "watch",
            "STOP",
            "device=d",
            "--count",
            "2",
            "--timeout",
            "0.5",
            "--initial",
            "-s",
            "/s",
        ];
        let options = parse(&words).unwrap();
        let Some(Mode::Watch(watch)) = options.mode else {
            panic!("{options:?}");
        };
        assert_eq!(watch.words, ["STOP", "device=d"]);
        assert_eq!((watch.count, watch.initial), (Some(2), true));
        assert_eq!(options.connection.timeout, Some(Duration::from_millis(500)));
        assert_eq!(options.connection.socket.as_deref(), Some("/s"));
    }

    #[test]
    fn wrong_options_are_refused() {
        use clap::error::ErrorKind;
        let refused = [
            (&["x", "--json", "--table"][..], ErrorKind::ArgumentConflict),
            (&["x", "--timeout", "-1"], ErrorKind::UnknownArgument),
            (&["x", "--timeout=-1"], ErrorKind::ValueValidation),
            (&["x", "--timeout", "nan"], ErrorKind::ValueValidation),
            (&["x", "--timeout", "1e400"], ErrorKind::ValueValidation),
            (&["watch", "--count", "0"], ErrorKind::ValueValidation),
            (&["x", "--initial"], ErrorKind::UnknownArgument),
            (&[], ErrorKind::MissingRequiredArgument),
        ];
        for (words, kind) in refused {
            assert_eq!(parse(words).unwrap_err(), kind, "{words:?}");
        }
    }
}
