//! A function for each command, and one to free each type that commands return.

use super::documentation::{Comment, rendered};
use super::{Writer, names};
use crate::codegen::client::method;
use crate::codegen::commands::arguments_type;
use crate::definition::{Command, Data, Definition, Kind, Type};
use crate::error::SchemaError;

/// Writes the functions of every command.
pub(super) fn write(writer: &mut Writer<'_>) -> Result<(), SchemaError> {
    writer.heading("Commands");
    let mut freed: Vec<String> = Vec::new();
    for (definition, command) in writer.schema.commands() {
        let takes = writer.takes(definition, command);
        let gives = writer.gives(command);
        let name = names::function(&definition.name);
        writer.scope.give(&name, definition)?;
        writer.function(definition, &name, takes.as_ref(), &gives);
        writer.function_in_rust(definition, &name, takes.as_ref(), &gives);
        if let Gives::Object { c, .. } = &gives
            && !freed.contains(c)
        {
            writer.free(definition, c)?;
            freed.push(c.clone());
        }
    }
    Ok(())
}

/// The parameters of a function, without the session.
struct Takes {
    c: String,
    /// Whether `NULL` stands for no arguments at all.
    nullable: bool,
}

/// What a function returns.
enum Gives {
    /// Success only.
    Nothing,
    /// A string that the caller owns.
    Text { is_json: bool },
    /// A value, through a pointer.
    Scalar { c: String, rust: String },
    /// A structure that the caller owns.
    Object { c: String, free: String },
}

impl Writer<'_> {
    fn takes(&self, definition: &Definition, command: &Command) -> Option<Takes> {
        let c = match &command.data {
            Data::Empty => return None,
            Data::Members(_) => names::type_name(&arguments_type(&definition.name)),
            Data::Named(name, _) => names::type_name(name),
        };
        let of_union = match &command.data {
            Data::Named(name, _) => self.schema.by_name.get(name.as_str()),
            _ => None,
        };
        let is_union = of_union.is_some_and(|of| matches!(of.kind, Kind::Union(_)));
        let members = match &command.data {
            Data::Empty => Vec::new(),
            Data::Members(members) => members.iter().collect(),
            Data::Named(name, _) => {
                let members = self.schema.all_members(name).into_iter();
                members.map(|(_, member)| member).collect()
            }
        };
        let nullable = !is_union && members.iter().all(|member| member.optional);
        Some(Takes { c, nullable })
    }

    fn gives(&self, command: &Command) -> Gives {
        let Some(of) = &command.returns else {
            return Gives::Nothing;
        };
        match of {
            Type { array: true, .. } => self.gives_object(of),
            Type { name, .. } if name == "null" => Gives::Nothing,
            Type { name, .. } if name == "str" => Gives::Text { is_json: false },
            Type { name, .. } if name == "any" => Gives::Text { is_json: true },
            of if self.is_scalar(of) => {
                let shape = self.shape(of);
                Gives::Scalar {
                    c: shape.c,
                    rust: shape.rust,
                }
            }
            of => self.gives_object(of),
        }
    }

    fn gives_object(&self, of: &Type) -> Gives {
        let c = self.shape(of).c;
        let free = free_function(&c);
        Gives::Object { c, free }
    }

    fn function(
        &mut self,
        definition: &Definition,
        name: &str,
        takes: Option<&Takes>,
        gives: &Gives,
    ) {
        let comment = self.function_comment(definition, takes, gives);
        let arguments = takes
            .map(|Takes { c, .. }| format!("const {c} *arguments, "))
            .unwrap_or_default();
        let (returns, value) = match gives {
            Gives::Nothing => ("bool ".to_owned(), String::new()),
            Gives::Text { .. } => ("char *".to_owned(), String::new()),
            Gives::Scalar { c, .. } => ("bool ".to_owned(), format!("{c} *value, ")),
            Gives::Object { c, .. } => (format!("{c} *"), String::new()),
        };
        self.c(format!(
            "{}{returns}{name}(QmpSession *session, {arguments}{value}QmpError **error);\n",
            comment.text(0)
        ));
    }

    fn function_comment(
        &self,
        definition: &Definition,
        takes: Option<&Takes>,
        gives: &Gives,
    ) -> Comment {
        let mut comment = Comment::of(self.schema, definition);
        let doc = definition.doc.as_ref();
        if let Some(returns) = doc.and_then(|doc| doc.returns.as_ref()) {
            comment.add(&format!("Returns: {}", rendered(self.schema, returns)));
        }
        if let Some(errors) = doc.and_then(|doc| doc.errors.as_ref()) {
            comment.add(&format!("Errors:\n{}", rendered(self.schema, errors)));
        }
        match takes {
            Some(Takes { nullable: true, .. }) => {
                comment.add("`arguments` may be NULL, which leaves every one of them out.");
            }
            Some(_) => comment.add("`arguments` must not be NULL."),
            None => {}
        }
        comment.add(&match gives {
            Gives::Nothing => "True on success; false and `*error` on failure.".to_owned(),
            Gives::Scalar { .. } => {
                "True and `*value` on success; false and `*error` on failure. `value` must not be NULL.".to_owned()
            }
            Gives::Text { is_json } => {
                let json = if *is_json { ", JSON," } else { "" };
                format!("The caller owns the text{json} and frees it with libqmp_string_free(). NULL and `*error` on failure.")
            }
            Gives::Object { free, .. } => {
                format!("The caller owns what is returned, and frees it with {free}(). NULL and `*error` on failure.")
            }
        });
        comment.close(self.schema, doc);
        comment
    }

    fn function_in_rust(
        &mut self,
        definition: &Definition,
        name: &str,
        takes: Option<&Takes>,
        gives: &Gives,
    ) {
        let (parameter, argument, closure) = match takes {
            None => (String::new(), "NoArguments", ("|session, ()|", "")),
            Some(Takes { c, nullable }) => {
                let of = if *nullable { "Optional" } else { "Required" };
                let parameter = format!("arguments: {of}<{c}>, ");
                (
                    parameter,
                    "arguments",
                    ("|session, arguments|", "&arguments"),
                )
            }
        };
        let (value, returns, how) = match gives {
            Gives::Nothing => (String::new(), "bool".to_owned(), "done"),
            Gives::Text { .. } => (String::new(), "Owned<c_char>".to_owned(), "text"),
            Gives::Scalar { rust, .. } => (
                format!("value: crate::pointer::Out<{rust}>, "),
                "bool".to_owned(),
                "value",
            ),
            Gives::Object { c, .. } => (String::new(), format!("Owned<{c}>"), "answer"),
        };
        let out = if value.is_empty() { "" } else { "value, " };
        let method = method(&definition.name);
        let (parameters, passed) = closure;
        self.rust(format!(
            "/// Executes `{}`.
#[unsafe(no_mangle)]
pub extern \"C\" fn {name}(session: Handle<QmpSession>, {parameter}{value}error: ErrorSlot) -> {returns} {{
    call::{how}(session, {argument}, {out}error, {parameters} session.{method}({passed}))
}}
",
            definition.name
        ));
    }

    /// Writes the function that frees a command's answer.
    fn free(&mut self, definition: &Definition, of: &str) -> Result<(), SchemaError> {
        let free = free_function(of);
        self.scope.give(&free, definition)?;
        self.declare(
            &[&format!(
                "Frees a {of} that a function of this library returned, with all that it points to. The argument may be NULL."
            )],
            &format!("void {free}({of} *value);"),
        );
        self.rust(format!(
            "/// Frees a `{of}`.
///
/// # Safety
///
/// `value` is NULL, or what a function of this library has returned, and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern \"C\" fn {free}(value: Owned<{of}>) {{
    // SAFETY: the caller's promise.
    unsafe {{ free_answer(value) }};
}}
"
        ));
        Ok(())
    }
}

/// The function that frees a structure.
fn free_function(of: &str) -> String {
    let name = of.strip_prefix("Qmp").unwrap_or(of);
    format!("{}_free", names::function(name))
}
