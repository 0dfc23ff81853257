//! The reference manual: the schema's documentation in Markdown.

use std::fmt::Write as _;

use super::accessor;
use super::documentation::with_names;
use super::{Owners, Schema, is_built_in};
use crate::NOTICE_FEATURE;
use crate::definition::{Branch, Command, Data, Definition, EnumValue, Kind, Member, Type, Union};
use crate::doc::{Described, Doc};
use crate::load::Topic;

/// The beginning of the manual.
const PREFACE: &str = "\
<!-- Made from the documentation in schema/qapi/*.json. CONTRIBUTING.md says how; changes made here are lost. -->

# The QMP reference

Every command, event and type, by topic. The [protocol](protocol.md) carries them. In an example, `->` is what the client
sends and `<-` what the server sends. A member that is not marked optional is always present.
";

/// Writes the manual.
pub(super) fn write(schema: &Schema<'_>, topics: &[Topic], owners: &Owners) -> String {
    let manual = Manual { schema, owners };
    let mut out = PREFACE.to_owned();
    let (introduction, topics): (Vec<_>, Vec<_>) = topics
        .iter()
        .partition(|topic| manual.of(topic).next().is_none());
    for topic in introduction {
        let _ = writeln!(out, "\n{}", manual.text(&topic.text));
    }
    manual.contents(&topics, &mut out);
    for topic in topics {
        let _ = writeln!(out, "\n## {}", topic.title);
        if !topic.text.is_empty() {
            let _ = writeln!(out, "\n{}", manual.text(&topic.text));
        }
        for definition in manual.of(topic) {
            manual.definition(definition, &mut out);
        }
    }
    out
}

struct Manual<'a> {
    schema: &'a Schema<'a>,
    owners: &'a Owners,
}

impl<'a> Manual<'a> {
    /// The definitions of a topic: commands, events, then the types that they use.
    fn of(&self, topic: &Topic) -> impl Iterator<Item = &'a Definition> {
        let mut of: Vec<&'a Definition> = self
            .schema
            .definitions
            .iter()
            .filter(|definition| definition.module == topic.module)
            .collect();
        of.sort_by_key(|definition| match definition.kind {
            Kind::Command(_) => 0,
            Kind::Event(_) => 1,
            _ => 2,
        });
        of.into_iter()
    }

    fn contents(&self, topics: &[&Topic], out: &mut String) {
        let _ = writeln!(out, "\n## Contents\n");
        for topic in topics {
            let _ = writeln!(out, "- [{}](#{})", topic.title, slug(&topic.title));
            for (kind, plural) in [
                ("Command", "Commands"),
                ("Event", "Events"),
                ("Type", "Types"),
            ] {
                let links: Vec<String> = self
                    .of(topic)
                    .filter(|definition| word(definition) == kind)
                    .map(link)
                    .collect();
                if !links.is_empty() {
                    let _ = writeln!(out, "  - {plural}: {}", links.join(", "));
                }
            }
        }
    }

    fn definition(&self, definition: &'a Definition, out: &mut String) {
        let _ = writeln!(out, "\n### {} `{}`", word(definition), definition.name);
        let doc = definition.doc.as_ref();
        if let Some(doc) = doc {
            let _ = writeln!(out, "\n{}", self.text(&doc.body));
        }
        match &definition.kind {
            Kind::Enum(values) => self.values(doc, values, out),
            Kind::Struct { base, members } => {
                let base = base.as_deref().map(|base| self.type_link(base));
                self.members("Members", base, doc, members, out);
            }
            Kind::Union(union) => self.union(definition, union, out),
            Kind::Alternate(alternatives) => self.alternatives(doc, alternatives, out),
            Kind::Command(command) => self.command(definition, command, out),
            Kind::Event(data) => self.event(definition, data, out),
        }
        if let Some(doc) = doc {
            self.rest(doc, out);
        }
    }

    fn values(&self, doc: Option<&Doc>, values: &[EnumValue], out: &mut String) {
        let _ = writeln!(out, "\n**Values**\n");
        for value in values {
            let about = about(doc, &value.name);
            let features = value.features.iter().map(|feature| feature.name.as_str());
            self.item(&value.name, &notes("", features), about, out);
        }
    }

    fn union(&self, definition: &Definition, union: &Union, out: &mut String) {
        self.data("Members", definition.doc.as_ref(), &union.base, out);
        let tag = &union.discriminator;
        let _ = writeln!(out, "\n**Members that depend on `{tag}`**\n");
        for Branch { name, of, .. } in &union.branches {
            let of = self.type_link(&of.name);
            let _ = writeln!(out, "- `{name}`: those of {of}");
        }
        if self.schema.bare_values(definition, union).next().is_some() {
            let _ = writeln!(out, "- any other: none");
        }
    }

    fn alternatives(&self, doc: Option<&Doc>, alternatives: &[Branch], out: &mut String) {
        let _ = writeln!(out, "\n**One of**\n");
        for Branch { name, of, .. } in alternatives {
            let of = self.type_name(of);
            self.item(name, &format!(" ({of})"), about(doc, name), out);
        }
    }

    fn command(&self, definition: &'a Definition, command: &'a Command, out: &mut String) {
        let doc = definition.doc.as_ref();
        self.data("Arguments", doc, &command.data, out);
        if let Some(returns) = &command.returns {
            let about = doc.and_then(|doc| doc.returns.as_deref());
            let about = self.text(about.unwrap_or_default());
            let _ = writeln!(out, "\n**Returns** {}: {about}", self.type_name(returns));
        }
        let who = if self.owners.monitor.contains(&definition.module) {
            "The monitor executes it"
        } else {
            "The machine executes it"
        };
        let band = if command.allow_oob {
            ", and it can be executed out of band."
        } else {
            "."
        };
        let _ = writeln!(out, "\n{who}{band}");
    }

    fn event(&self, event: &'a Definition, data: &'a Data, out: &mut String) {
        self.data("Data", event.doc.as_ref(), data, out);
        if event.has_feature(NOTICE_FEATURE) {
            return;
        }
        let accessor = accessor::definition(self.schema, event, data);
        let band = if accessor::ALLOW_OOB {
            " It can be executed out of band."
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "\n**Accessor** `{}`: connects the session to this event and returns the connection's handle (int).{band}\n",
            accessor.name
        );
        for argument in accessor::arguments(self.schema, event, data) {
            let note = format!(" ({}, optional)", argument.of);
            self.item(argument.name, &note, argument.about, out);
        }
    }

    /// The arguments of a command, the data of an event or the base of a union.
    fn data(&self, heading: &str, doc: Option<&Doc>, data: &Data, out: &mut String) {
        match data {
            Data::Empty => {}
            Data::Members(members) => self.members(heading, None, doc, members, out),
            Data::Named(name, _) => {
                self.members(heading, Some(self.type_link(name)), doc, &[], out);
            }
        }
    }

    fn members(
        &self,
        heading: &str,
        base: Option<String>,
        doc: Option<&Doc>,
        members: &[Member],
        out: &mut String,
    ) {
        let _ = writeln!(out, "\n**{heading}**\n");
        if let Some(base) = base {
            let _ = writeln!(out, "- those of {base}");
        }
        for member in members {
            let mut note = self.type_name(&member.of);
            if member.optional {
                note.push_str(", optional");
            }
            let features = member.features.iter().map(|feature| feature.name.as_str());
            self.item(
                &member.name,
                &notes(&note, features),
                about(doc, &member.name),
                out,
            );
        }
    }

    /// The sections that every definition may have.
    fn rest(&self, doc: &Doc, out: &mut String) {
        if let Some(errors) = &doc.errors {
            let _ = writeln!(out, "\n**Errors**\n\n{}", self.text(errors));
        }
        if !doc.features.is_empty() {
            let _ = writeln!(out, "\n**Features**\n");
        }
        for Described { name, text, .. } in &doc.features {
            self.item(name, "", text, out);
        }
        if let Some(since) = &doc.since {
            let _ = writeln!(out, "\nSince {since}.");
        }
        for example in &doc.examples {
            let _ = writeln!(out, "\n```\n{}\n```", example.lines.join("\n"));
        }
    }

    /// An item of a list, with its further lines.
    fn item(&self, name: &str, note: &str, about: &str, out: &mut String) {
        let about = self.text(about).replace('\n', "\n  ");
        let colon = if about.is_empty() { "" } else { ": " };
        let _ = writeln!(out, "- `{name}`{note}{colon}{about}");
    }

    fn type_name(&self, of: &Type) -> String {
        let name = self.type_link(&of.name);
        if of.array {
            format!("array of {name}")
        } else {
            name
        }
    }

    fn type_link(&self, name: &str) -> String {
        match self.schema.by_name.get(name) {
            Some(definition) if !is_built_in(name) => link(definition),
            _ => name.to_owned(),
        }
    }

    /// Text with names marked, and linked to their definitions.
    fn text(&self, text: &str) -> String {
        let render = |name: &str| match self.schema.by_name.get(name) {
            Some(definition) => link(definition),
            None => format!("`{name}`"),
        };
        // Escapes what Markdown would read as a tag or as emphasis.
        let lines: Vec<String> = text
            .replace('<', "\\<")
            .replace("__", "\\_\\_")
            .lines()
            .map(|line| with_names(line, render))
            .collect();
        lines.join("\n")
    }
}

fn about<'d>(doc: Option<&'d Doc>, name: &str) -> &'d str {
    let described = doc.and_then(|doc| doc.members.iter().find(|member| member.name == name));
    described.map_or("", |described| &described.text)
}

/// The notes in brackets after a name.
fn notes<'f>(of: &str, features: impl Iterator<Item = &'f str>) -> String {
    let mut notes: Vec<String> = vec![of.to_owned()];
    notes.extend(features.map(|feature| format!("feature `{feature}`")));
    notes.retain(|note| !note.is_empty());
    if notes.is_empty() {
        String::new()
    } else {
        format!(" ({})", notes.join(", "))
    }
}

fn word(definition: &Definition) -> &'static str {
    match definition.kind {
        Kind::Command(_) => "Command",
        Kind::Event(_) => "Event",
        _ => "Type",
    }
}

fn link(definition: &Definition) -> String {
    let heading = format!("{} {}", word(definition), definition.name);
    format!("[`{}`](#{})", definition.name, slug(&heading))
}

/// The anchor of a heading, as Markdown renderers make it.
fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}
