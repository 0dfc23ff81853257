//! Names in C.

use std::collections::HashMap;

use crate::definition::Definition;
use crate::error::SchemaError;
use crate::name;

/// Words that cannot name a member: keywords of C and C++, and macros without parentheses of the C library or the
/// compiler.
const TAKEN: [&str; 119] = [
    "alignas",
    "alignof",
    "and",
    "and_eq",
    "asm",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "char16_t",
    "char32_t",
    "char8_t",
    "class",
    "co_await",
    "co_return",
    "co_yield",
    "compl",
    "complex",
    "concept",
    "const",
    "const_cast",
    "consteval",
    "constexpr",
    "constinit",
    "continue",
    "decltype",
    "default",
    "delete",
    "do",
    "double",
    "dynamic_cast",
    "else",
    "enum",
    "errno",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "i386",
    "if",
    "imaginary",
    "inline",
    "int",
    "linux",
    "long",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "noreturn",
    "not",
    "not_eq",
    "nullptr",
    "offsetof",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "reinterpret_cast",
    "requires",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_assert",
    "static_cast",
    "stderr",
    "stdin",
    "stdout",
    "struct",
    "switch",
    "template",
    "this",
    "thread_local",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "typeof",
    "typeof_unqual",
    "union",
    "unix",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "xor_eq",
    "assert",
    "environ",
    "st_atime",
    "st_ctime",
    "st_mtime",
    "sa_handler",
    "sa_sigaction",
    "si_addr",
    "si_pid",
    "si_uid",
    "si_value",
    "h_addr",
    "s_addr",
];

/// The C type of a type of the schema.
pub(super) fn type_name(name: &str) -> String {
    format!("Qmp{name}")
}

/// The C type of the data that an event defines itself.
pub(super) fn data_type(event: &str) -> String {
    type_name(&name::camel(event))
}

/// A function's name: `libqmp_block_info_free`.
pub(super) fn function(of: &str) -> String {
    format!("libqmp_{}", lower(of))
}

/// The name of an enumeration's value: `QMP_RUN_STATE_RUNNING`.
pub(super) fn constant(of: &str, value: &str) -> String {
    format!("QMP_{}_{}", lower(of), value.replace(['-', '.'], "_")).to_ascii_uppercase()
}

/// The name of a structure's member. One that C cannot use gets an underscore at the end.
pub(super) fn member(name: &str) -> String {
    let member = name.replace(['-', '.'], "_").to_ascii_lowercase();
    if TAKEN.contains(&member.as_str()) {
        member + "_"
    } else {
        member
    }
}

/// A name in lower case with underscores: `block_io_throttle` for `BlockIOThrottle`.
pub(super) fn lower(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut lower = String::new();
    for (index, character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|i| characters.get(i));
        let after = characters.get(index + 1);
        let starts_word = character.is_ascii_uppercase()
            && before.is_some_and(|before| {
                !before.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase)
            });
        if starts_word && before.is_some_and(char::is_ascii_alphanumeric) {
            lower.push('_');
        }
        lower.push(match character {
            '-' | '.' => '_',
            other => other.to_ascii_lowercase(),
        });
    }
    lower
}

/// The names that are in use. C has one scope for all of them.
#[derive(Debug, Default)]
pub(super) struct Scope {
    of: HashMap<String, String>,
}

impl Scope {
    /// Reserves a name for a definition.
    ///
    /// # Errors
    ///
    /// The name is in use.
    pub(super) fn give(
        &mut self,
        name: impl Into<String>,
        to: &Definition,
    ) -> Result<(), SchemaError> {
        let name = name.into();
        if is_hand_written(&name) {
            let message = format!("'{}' would be '{name}' in C, which is taken", to.name);
            return Err(to.location.error(message));
        }
        match self.of.insert(name.clone(), to.name.clone()) {
            None => Ok(()),
            Some(other) => {
                let message = format!("'{}' would be '{name}' in C, as '{other}' is", to.name);
                Err(to.location.error(message))
            }
        }
    }
}

/// Whether a name belongs, or may belong later, to the part of the header that is written by hand.
fn is_hand_written(name: &str) -> bool {
    const NAMES: [&str; 13] = [
        "QmpError",
        "QmpErrorClass",
        "QmpErrorKind",
        "QmpNull",
        "QmpRawEvent",
        "QmpRawEventData",
        "QmpRawEventHandler",
        "QmpRawOccurrence",
        "QmpTimestamp",
        "libqmp_any_event",
        "libqmp_execute_raw",
        "libqmp_execute_raw_out_of_band",
        "libqmp_get_event",
    ];
    const FAMILIES: [&str; 8] = [
        "QMP_ERROR_",
        "QMP_SESSION_",
        "QmpSession",
        "libqmp_error_",
        "libqmp_raw_event_",
        "libqmp_raw_occurrence_",
        "libqmp_session_",
        "libqmp_string_",
    ];
    NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_capitals_is_one_word() {
        assert_eq!(lower("BlockIOThrottle"), "block_io_throttle");
        assert_eq!(lower("QMPCapability"), "qmp_capability");
        assert_eq!(lower("JSONType"), "json_type");
        assert_eq!(lower("RunState"), "run_state");
        assert_eq!(lower("query-block"), "query_block");
        assert_eq!(lower("BLOCK_IO_ERROR"), "block_io_error");
        assert_eq!(lower("system_reset"), "system_reset");
    }

    #[test]
    fn words_reserved_by_c_get_an_underscore() {
        assert_eq!(member("default"), "default_");
        assert_eq!(member("operator"), "operator_");
        assert_eq!(member("errno"), "errno_");
        assert_eq!(member("node-name"), "node_name");
        assert_eq!(member("type"), "type");
    }

    #[test]
    fn a_constant_has_its_types_name_as_a_prefix() {
        assert_eq!(constant("RunState", "io-error"), "QMP_RUN_STATE_IO_ERROR");
        assert_eq!(constant("Disk", "1.44"), "QMP_DISK_1_44");
    }
}
