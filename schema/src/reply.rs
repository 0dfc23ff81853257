//! The reply that a command owes its client.

use std::fmt;

use crate::CommandError;

/// The reply to one command. `T` is the type that the schema says it returns.
///
/// The method of a command with `'coroutine': true` receives one, keeps it until the command has had its effect, and sends
/// it from any thread. A reply that is dropped unsent answers with an error: no client waits for ever.
pub struct Reply<T: 'static> {
    deliver: Option<Deliver<T>>,
}

/// Delivers an answer to its client.
type Deliver<T> = Box<dyn FnOnce(Result<T, CommandError>) + Send + Sync>;

impl<T: 'static> Reply<T> {
    /// A reply that calls `deliver` exactly once.
    pub fn new(deliver: impl FnOnce(Result<T, CommandError>) + Send + Sync + 'static) -> Self {
        Self {
            deliver: Some(Box::new(deliver)),
        }
    }

    /// Sends the answer.
    pub fn send(mut self, result: Result<T, CommandError>) {
        self.deliver(result);
    }

    /// A reply that answers this one through `wrap`. Dropping it drops this one.
    pub fn map<U>(self, wrap: impl FnOnce(U) -> T + Send + Sync + 'static) -> Reply<U> {
        Reply::new(move |result: Result<U, CommandError>| self.send(result.map(wrap)))
    }

    fn deliver(&mut self, result: Result<T, CommandError>) {
        if let Some(deliver) = self.deliver.take() {
            deliver(result);
        }
    }
}

impl Reply<()> {
    /// Answers a successful command that returns nothing.
    pub fn done(self) {
        self.send(Ok(()));
    }
}

impl<T: 'static> Drop for Reply<T> {
    fn drop(&mut self) {
        self.deliver(Err(CommandError::generic("The machine gave no answer")));
    }
}

impl<T: 'static> fmt::Debug for Reply<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reply").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use super::*;

    fn reply() -> (Reply<String>, Receiver<Result<String, CommandError>>) {
        let (sender, answers) = mpsc::channel();
        (
            Reply::new(move |result| sender.send(result).unwrap()),
            answers,
        )
    }

    #[test]
    fn a_reply_answers_once() {
        let (reply, answers) = reply();
        reply.send(Ok("seven".to_owned()));
        assert_eq!(answers.iter().collect::<Vec<_>>(), [Ok("seven".to_owned())]);
    }

    #[test]
    fn a_reply_that_is_dropped_answers_with_an_error() {
        let error = || CommandError::generic("The machine gave no answer");
        let (whole, answers) = reply();
        drop(whole);
        assert_eq!(answers.iter().collect::<Vec<_>>(), [Err(error())]);
        let (typed, answers) = reply();
        drop(typed.map(|number: u64| number.to_string()));
        assert_eq!(answers.iter().collect::<Vec<_>>(), [Err(error())]);
    }

    #[test]
    fn a_mapped_reply_answers_the_original() {
        let refused = || CommandError::device_not_found("disk7");
        for (answer, expected) in [
            (Ok(7), Ok("7".to_owned())),
            (Err(refused()), Err(refused())),
        ] {
            let (reply, answers) = reply();
            reply.map(|number: u64| number.to_string()).send(answer);
            assert_eq!(answers.iter().collect::<Vec<_>>(), [expected]);
        }
    }
}
