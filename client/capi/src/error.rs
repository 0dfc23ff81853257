//! Errors in C.

use std::ffi::{CString, c_char, c_uint};

use libqmp::ErrorClass;

use crate::arena::owned_text;
use crate::boundary::guard;
use crate::conversion::InvalidArgument;
use crate::pointer::{Handle, Out, Owned, Text};

/// The cause of a function's failure, before it is described for C.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Invalid arguments.
    Argument(InvalidArgument),
    /// The session's error.
    Session(libqmp::Error),
    /// A bug of this library.
    Panic,
}

impl From<InvalidArgument> for Failure {
    fn from(error: InvalidArgument) -> Self {
        Self::Argument(error)
    }
}

impl From<libqmp::Error> for Failure {
    fn from(error: libqmp::Error) -> Self {
        Self::Session(error)
    }
}

/// `QmpErrorKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Kind {
    None = 0,
    InvalidArgument = 1,
    Connect = 2,
    NotQmp = 3,
    Command = 4,
    Reply = 5,
    TimedOut = 6,
    Closed = 7,
    EventNotFound = 8,
    Internal = 9,
}

impl Kind {
    fn of(error: &libqmp::Error) -> Self {
        use libqmp::Error;
        match error {
            Error::Address { .. } | Error::Arguments { .. } => Self::InvalidArgument,
            Error::Connect { .. } | Error::Spawn { .. } => Self::Connect,
            Error::NotQmp { .. } | Error::HungUp { .. } | Error::NoGreeting { .. } => Self::NotQmp,
            Error::Command { .. } => Self::Command,
            Error::Reply { .. } | Error::Event { .. } => Self::Reply,
            Error::TimedOut { .. } => Self::TimedOut,
            Error::Closed { .. } => Self::Closed,
            Error::EventNotFound { .. } => Self::EventNotFound,
            _ => Self::Internal,
        }
    }
}

/// `QmpErrorClass`.
fn class_number(class: Option<&ErrorClass>) -> c_uint {
    match class {
        None => 0,
        Some(ErrorClass::GenericError) => 1,
        Some(ErrorClass::CommandNotFound) => 2,
        Some(ErrorClass::DeviceNotFound) => 3,
        Some(ErrorClass::DeviceNotActive) => 4,
        Some(ErrorClass::KVMMissingCap) => 5,
        Some(ErrorClass::InvalidParameterValue) => 6,
        Some(_) => 7,
    }
}

/// `QmpError`: an error, with its texts as C strings.
#[derive(Debug)]
pub struct QmpError {
    kind: Kind,
    class: c_uint,
    class_name: Option<CString>,
    message: CString,
    description: CString,
}

impl QmpError {
    fn new(failure: &Failure) -> Self {
        match failure {
            Failure::Argument(InvalidArgument(message)) => {
                Self::plain(Kind::InvalidArgument, message)
            }
            Failure::Session(error) => Self::of_session(error),
            Failure::Panic => Self::plain(
                Kind::Internal,
                "libqmp has made a mistake; standard error may say which",
            ),
        }
    }

    fn plain(kind: Kind, message: &str) -> Self {
        Self {
            kind,
            class: class_number(None),
            class_name: None,
            message: owned_text(message),
            description: owned_text(message),
        }
    }

    fn of_session(error: &libqmp::Error) -> Self {
        let message = error.to_string();
        Self {
            kind: Kind::of(error),
            class: class_number(error.class()),
            class_name: error.class().map(|class| owned_text(class.name())),
            description: owned_text(error.desc().unwrap_or(&message)),
            message: owned_text(&message),
        }
    }
}

/// Where a function stores its error: a pointer from the caller, or none.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct ErrorSlot(Out<Owned<QmpError>>);

impl ErrorSlot {
    /// Points to a variable of this library.
    #[cfg(test)]
    pub(crate) fn at(place: &mut Owned<QmpError>) -> Self {
        Self(Out::new(place))
    }

    /// Stores that there is no error.
    pub(crate) fn clear(&self) {
        self.0.put(Owned::NULL);
    }

    /// Stores an error.
    pub(crate) fn set(&self, failure: &Failure) {
        if !self.0.is_null() {
            self.0.put(Owned::give(Box::new(QmpError::new(failure))));
        }
    }
}

/// The kind of error.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_error_kind(error: Handle<QmpError>) -> c_uint {
    error.get("error").map_or(Kind::None, |error| error.kind) as c_uint
}

/// The class of the server's error.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_error_class(error: Handle<QmpError>) -> c_uint {
    error.get("error").map_or(0, |error| error.class)
}

/// The name of the class.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_error_class_name(error: Handle<QmpError>) -> Text {
    let class = error.get("error").ok();
    let class = class.and_then(|error| error.class_name.as_deref());
    class.map_or(Text::NULL, Text::new)
}

/// The whole error in one sentence.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_error_message(error: Handle<QmpError>) -> Text {
    let error = error.get("error");
    error.map_or(Text::NULL, |error| Text::new(&error.message))
}

/// The server's description.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_error_description(error: Handle<QmpError>) -> Text {
    let error = error.get("error");
    error.map_or(Text::NULL, |error| Text::new(&error.description))
}

/// Frees an error.
///
/// # Safety
///
/// `error` is NULL, or comes from a function of this library, and has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn libqmp_error_free(error: Owned<QmpError>) {
    // SAFETY: the caller's promise: nothing else uses the error.
    guard((), || drop(unsafe { error.take() }));
}

/// Frees a string that a function of this library returned.
///
/// # Safety
///
/// `text` is NULL, or comes from a function of this library, and has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn libqmp_string_free(text: Owned<c_char>) {
    // SAFETY: the caller's promise: nothing else uses the string.
    guard((), || drop(unsafe { text.take_text() }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HEADER;

    fn assert_header_has(constant: &str, number: c_uint) {
        let is_it =
            |line: &str| line.trim_end_matches(',').trim() == format!("{constant} = {number}");
        assert!(HEADER.lines().any(is_it), "{constant} = {number}");
    }

    #[test]
    fn kinds_have_their_numbers_in_the_header() {
        for (kind, name) in [
            (Kind::None, "NONE"),
            (Kind::InvalidArgument, "INVALID_ARGUMENT"),
            (Kind::Connect, "CONNECT"),
            (Kind::NotQmp, "NOT_QMP"),
            (Kind::Command, "COMMAND"),
            (Kind::Reply, "REPLY"),
            (Kind::TimedOut, "TIMED_OUT"),
            (Kind::Closed, "CLOSED"),
            (Kind::EventNotFound, "EVENT_NOT_FOUND"),
            (Kind::Internal, "INTERNAL"),
        ] {
            assert_header_has(&format!("QMP_ERROR_KIND_{name}"), kind as c_uint);
        }
    }

    #[test]
    fn classes_have_their_numbers_in_the_header() {
        assert_header_has("QMP_ERROR_CLASS_NONE", class_number(None));
        for (class, name) in [
            (ErrorClass::GenericError, "GENERIC_ERROR"),
            (ErrorClass::CommandNotFound, "COMMAND_NOT_FOUND"),
            (ErrorClass::DeviceNotFound, "DEVICE_NOT_FOUND"),
            (ErrorClass::DeviceNotActive, "DEVICE_NOT_ACTIVE"),
            (ErrorClass::KVMMissingCap, "KVM_MISSING_CAP"),
            (ErrorClass::InvalidParameterValue, "INVALID_PARAMETER_VALUE"),
            (ErrorClass::Other("New".to_owned()), "OTHER"),
        ] {
            let number = class_number(Some(&class));
            assert_header_has(&format!("QMP_ERROR_CLASS_{name}"), number);
        }
    }
}
