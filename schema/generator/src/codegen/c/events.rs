//! Events as objects: the structure of an occurrence, and the object's functions.

use super::documentation::Comment;
use super::{Writer, names};
use crate::codegen::events::data_type;
use crate::definition::{Data, Definition};
use crate::error::SchemaError;
use crate::name;

/// Writes every event that can be connected to.
pub(super) fn write(writer: &mut Writer<'_>) -> Result<(), SchemaError> {
    writer.heading("Events");
    for (event, data) in writer.schema.signals() {
        let names = Names::of(event, data);
        names.give(writer, event)?;
        writer.occurrence(event, &names);
        writer.object(event, &names);
        writer.accessors(event, data, &names);
        writer.methods(&names);
        writer.event_in_rust(event, data, &names);
    }
    Ok(())
}

/// The names of an event's parts.
struct Names {
    event: String,
    /// The C type of its data.
    data: Option<String>,
    /// The Rust type of its data.
    rust: String,
    occurrence: String,
    object: String,
    handler: String,
    /// The prefix of its accessor and of its object's functions.
    get: String,
    functions: String,
    free_occurrence: String,
}

impl Names {
    fn of(event: &Definition, data: &Data) -> Self {
        let camel = name::camel(&event.name);
        let base = names::function(&event.name);
        let of = data_type(event, data);
        Self {
            event: event.name.clone(),
            data: of.as_deref().map(names::type_name),
            rust: of.map_or_else(|| "schema::Empty".to_owned(), |of| format!("schema::{of}")),
            occurrence: names::type_name(&format!("{camel}Occurrence")),
            object: names::type_name(&format!("{camel}Event")),
            handler: names::type_name(&format!("{camel}EventHandler")),
            get: format!("libqmp_get_{}_event", names::lower(&event.name)),
            functions: format!("{base}_event"),
            free_occurrence: format!("{base}_occurrence_free"),
        }
    }

    fn give(&self, writer: &mut Writer<'_>, event: &Definition) -> Result<(), SchemaError> {
        let functions = ["connect", "disconnect", "recv", "free"];
        let functions = functions.map(|function| format!("{}_{function}", self.functions));
        let with = format!("{}_with", self.get);
        let types = [&self.occurrence, &self.object, &self.handler];
        let others = [&self.get, &with, &self.free_occurrence];
        let all = types.into_iter().chain(others).chain(&functions);
        all.into_iter()
            .try_for_each(|name| writer.scope.give(name, event))
    }
}

impl Writer<'_> {
    fn occurrence(&mut self, event: &Definition, names: &Names) {
        let (name, of) = (&event.name, &names.occurrence);
        let data = match &names.data {
            Some(data) => format!("    /** What it says. */\n    {data} data;\n"),
            None => String::new(),
        };
        self.c(format!(
            "/** One time that {name} was raised. */
typedef struct {of} {{
    /** When, by the server's clock. */
    QmpTimestamp timestamp;
    /** Whether this is the present state that `initial` asked for, and nothing that happened now. */
    bool initial;
    /** How many were lost before this one: they came faster than they were taken, or did not fit their type. */
    uint64_t lost;
{data}}} {of};
"
        ));
        self.layouts.push(of.clone());
    }

    fn object(&mut self, event: &Definition, names: &Names) {
        let Names {
            object,
            handler,
            occurrence,
            functions,
            ..
        } = names;
        let mut comment = Comment::of(self.schema, event);
        comment.close(self.schema, event.doc.as_ref());
        comment.add(&format!(
            "The object is the connection to the event: from {}() to {functions}_free() occurrences come.",
            names.get
        ));
        self.c(format!(
            "{}typedef struct {object} {object};\n",
            comment.text(0)
        ));
        self.declare(
            &[
                "Called by libqmp_session_dispatch() for each occurrence.",
                &format!("`occurrence` is the library's and valid until the handler returns; `opaque` is what {functions}_connect() was called with."),
            ],
            &format!("typedef void (*{handler})(const {occurrence} *occurrence, void *opaque);"),
        );
    }

    fn accessors(&mut self, event: &Definition, data: &Data, names: &Names) {
        let Names {
            object,
            get,
            functions,
            event: name,
            ..
        } = names;
        self.declare(
            &[&format!(
                "Connects to {name}. The caller owns the object and frees it with {functions}_free(). NULL and `*error` on failure."
            )],
            &format!("{object} *{get}(QmpSession *session, QmpError **error);"),
        );
        let mut about = vec![format!("As {get}(), with arguments.")];
        let mut parameter = "";
        if self.schema.device(event, data).is_some() {
            about.push("`device`: only events about this device, or NULL for all.".to_owned());
            parameter = "const char *device, ";
        }
        about.push(
            "`initial`: whether the current state, if there is one, is the first occurrence."
                .to_owned(),
        );
        let about: Vec<&str> = about.iter().map(String::as_str).collect();
        self.declare(
            &about,
            &format!(
                "{object} *{get}_with(QmpSession *session, {parameter}bool initial, QmpError **error);"
            ),
        );
    }

    fn methods(&mut self, names: &Names) {
        let Names {
            object,
            handler,
            occurrence,
            functions,
            free_occurrence,
            ..
        } = names;
        self.declare(
            &[&format!(
                "Adds a handler, and returns its number for {functions}_disconnect(). 0 if `event` or `handler` is NULL."
            )],
            &format!("uint64_t {functions}_connect({object} *event, {handler} handler, void *opaque);"),
        );
        self.declare(
            &["Removes a handler, which does not run afterwards. False if there is none of that number."],
            &format!("bool {functions}_disconnect({object} *event, uint64_t handler);"),
        );
        self.declare(
            &[
                "Waits for the next occurrence for this many milliseconds: 0 does not wait, a negative number waits without a limit. While the object has handlers, they receive all occurrences.",
                &format!("The caller owns the occurrence and frees it with {free_occurrence}(). NULL and `*error` if there is none, of kind QMP_ERROR_KIND_TIMED_OUT if the limit has passed."),
            ],
            &format!("{occurrence} *{functions}_recv({object} *event, int64_t timeout_ms, QmpError **error);"),
        );
        self.declare(
            &[&format!(
                "Frees what {functions}_recv() returned. `occurrence` may be NULL."
            )],
            &format!("void {free_occurrence}({occurrence} *occurrence);"),
        );
        self.declare(
            &["Disconnects and frees the object. No handler of it runs afterwards: this waits for one that runs in another thread. A handler may free the object that it was called for. `event` may be NULL."],
            &format!("void {functions}_free({object} *event);"),
        );
    }

    fn event_in_rust(&mut self, event: &Definition, data: &Data, names: &Names) {
        let Names {
            event: name,
            rust,
            occurrence,
            object,
            get,
            functions,
            free_occurrence,
            ..
        } = names;
        let has_device = self.schema.device(event, data).is_some();
        let (parameter, device) = match has_device {
            true => ("device: Text, ", "device"),
            false => ("", "Text::NULL"),
        };
        let method = format!("get_{}_event", name::snake(name));
        self.rust(format!(
            "/// An occurrence of `{name}`.
pub type {occurrence} = Occurrence<<{rust} as ToC>::C>;

/// `{name}` as an object.
pub type {object} = EventObject<{rust}>;

/// Connects to `{name}`.
#[unsafe(no_mangle)]
pub extern \"C\" fn {get}(session: Handle<QmpSession>, error: ErrorSlot) -> Owned<{object}> {{
    event::get(session, error, Session::{method})
}}

/// Connects to `{name}`, with arguments.
#[unsafe(no_mangle)]
pub extern \"C\" fn {get}_with(session: Handle<QmpSession>, {parameter}initial: Bool, error: ErrorSlot) -> Owned<{object}> {{
    event::get_with(session, {device}, initial, error, |session, arguments| Ok(session.{method}_with(arguments)?))
}}

/// Adds a handler.
#[unsafe(no_mangle)]
pub extern \"C\" fn {functions}_connect(event: Handle<{object}>, handler: Handler<{rust}>, opaque: Opaque) -> u64 {{
    event::connect(event, handler, opaque)
}}

/// Removes a handler.
#[unsafe(no_mangle)]
pub extern \"C\" fn {functions}_disconnect(event: Handle<{object}>, handler: u64) -> bool {{
    event::disconnect(event, handler)
}}

/// Waits for an occurrence.
#[unsafe(no_mangle)]
pub extern \"C\" fn {functions}_recv(event: Handle<{object}>, timeout_ms: i64, error: ErrorSlot) -> Owned<{occurrence}> {{
    event::recv(event, timeout_ms, error)
}}

/// Frees an occurrence.
///
/// # Safety
///
/// `occurrence` is NULL, or what a function of this library has returned, and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern \"C\" fn {free_occurrence}(occurrence: Owned<{occurrence}>) {{
    // SAFETY: the caller's promise.
    unsafe {{ free_answer(occurrence) }};
}}

/// Disconnects.
///
/// # Safety
///
/// `event` is NULL, or what a function of this library has returned, and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern \"C\" fn {functions}_free(event: Owned<{object}>) {{
    // SAFETY: the caller's promise.
    unsafe {{ event::free(event) }};
}}
"
        ));
    }
}
