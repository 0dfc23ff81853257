//! Documentation of a definition, divided into the language's sections.

use std::rc::Rc;

use crate::error::{Location, SchemaError};
use crate::example::{Message, messages};

/// A block of documentation.
#[derive(Clone, Debug)]
pub struct Doc {
    /// Where the block starts.
    pub location: Location,
    /// The definition that it documents; none for a block of its own.
    pub symbol: Option<String>,
    /// The text about the whole definition.
    pub body: String,
    /// The descriptions of members, arguments or values.
    pub members: Vec<Described>,
    /// The descriptions of features.
    pub features: Vec<Described>,
    /// The text of `Returns:`.
    pub returns: Option<String>,
    /// The text of `Errors:`.
    pub errors: Option<String>,
    /// The text of `Since:`: a version of Faultvisor.
    pub since: Option<String>,
    /// Exchanges on the wire.
    pub examples: Vec<Example>,
}

/// A name and its description.
#[derive(Clone, Debug)]
pub struct Described {
    /// Where the name is.
    pub location: Location,
    /// The name of the member, value or feature.
    pub name: String,
    /// Its description.
    pub text: String,
}

/// An example, as written in the documentation.
#[derive(Clone, Debug)]
pub struct Example {
    /// Where it starts.
    pub location: Location,
    /// Its lines, without their common indentation.
    pub lines: Vec<String>,
    /// The messages in them.
    pub messages: Vec<Message>,
}

/// The section that the next line of text belongs to.
enum Section {
    Body,
    Member,
    Feature,
    Returns,
    Errors,
    Since,
    Todo,
    Example,
}

impl Doc {
    /// Divides the lines of a block into sections.
    pub(crate) fn parse(
        file: &Rc<str>,
        location: Location,
        lines: &[(u32, String)],
    ) -> Result<Self, SchemaError> {
        let mut doc = Self {
            location,
            symbol: None,
            body: String::new(),
            members: Vec::new(),
            features: Vec::new(),
            returns: None,
            errors: None,
            since: None,
            examples: Vec::new(),
        };
        let mut rest = lines;
        if let Some(((number, first), after)) = lines.split_first()
            && let Some(name) = first.strip_prefix('@')
        {
            let at = Location::new(file, *number);
            let Some(symbol) = name.strip_suffix(':') else {
                return Err(at.error("the line that names what is documented must end with ':'"));
            };
            doc.symbol = Some(symbol.to_owned());
            rest = after;
        }
        let mut section = Section::Body;
        let mut in_features = false;
        for (number, line) in rest {
            let at = Location::new(file, *number);
            doc.line(&mut section, &mut in_features, &at, line)?;
        }
        doc.trim();
        for example in &mut doc.examples {
            example.messages = messages(&example.location, &example.lines)?;
        }
        Ok(doc)
    }

    fn line(
        &mut self,
        section: &mut Section,
        in_features: &mut bool,
        at: &Location,
        line: &str,
    ) -> Result<(), SchemaError> {
        let indented = line.starts_with(' ');
        if self.symbol.is_none() || indented || line.is_empty() {
            self.append(section, line);
            return Ok(());
        }
        if line == ".. qmp-example::" {
            self.examples.push(Example {
                location: at.clone(),
                lines: Vec::new(),
                messages: Vec::new(),
            });
            *section = Section::Example;
            return Ok(());
        }
        if line == "Features:" {
            *in_features = true;
            *section = Section::Body;
            return Ok(());
        }
        if let Some(named) = line.strip_prefix('@')
            && let Some((name, text)) = named.split_once(':')
        {
            let list = if *in_features {
                &mut self.features
            } else {
                &mut self.members
            };
            if list.iter().any(|described| described.name == name) {
                return Err(at.error(format!("'{name}' is described twice")));
            }
            let text = text.trim().to_owned();
            list.push(Described {
                location: at.clone(),
                name: name.to_owned(),
                text,
            });
            *section = if *in_features {
                Section::Feature
            } else {
                Section::Member
            };
            return Ok(());
        }
        *in_features = false;
        for (tag, tagged) in [
            ("Returns:", Section::Returns),
            ("Errors:", Section::Errors),
            ("Since:", Section::Since),
            ("TODO:", Section::Todo),
        ] {
            if let Some(text) = line.strip_prefix(tag) {
                let slot = match tagged {
                    Section::Returns => &mut self.returns,
                    Section::Errors => &mut self.errors,
                    Section::Since => &mut self.since,
                    _ => &mut None,
                };
                if slot.is_some() {
                    return Err(at.error(format!("'{tag}' is there twice")));
                }
                *slot = Some(text.trim().to_owned());
                *section = tagged;
                return Ok(());
            }
        }
        if !matches!(section, Section::Body) {
            *section = Section::Body;
            self.append(section, "");
        }
        self.append(section, line);
        Ok(())
    }

    fn append(&mut self, section: &Section, line: &str) {
        let text = match section {
            Section::Example => {
                if let Some(example) = self.examples.last_mut() {
                    let line = line.strip_prefix("    ").unwrap_or(line);
                    example.lines.push(line.to_owned());
                }
                return;
            }
            Section::Todo => return,
            Section::Body => &mut self.body,
            Section::Member => match self.members.last_mut() {
                Some(described) => &mut described.text,
                None => return,
            },
            Section::Feature => match self.features.last_mut() {
                Some(described) => &mut described.text,
                None => return,
            },
            Section::Returns => self.returns.get_or_insert_default(),
            Section::Errors => self.errors.get_or_insert_default(),
            Section::Since => self.since.get_or_insert_default(),
        };
        // Removes the indentation that marks a line as the continuation of a section.
        let line = if matches!(section, Section::Body) {
            line
        } else {
            line.trim_start()
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
    }

    fn trim(&mut self) {
        let texts = [
            Some(&mut self.body),
            self.returns.as_mut(),
            self.errors.as_mut(),
        ];
        let described = self
            .members
            .iter_mut()
            .chain(&mut self.features)
            .map(|d| &mut d.text);
        for text in texts
            .into_iter()
            .flatten()
            .chain(self.since.as_mut())
            .chain(described)
        {
            *text = text.trim_matches('\n').trim_end().to_owned();
        }
        for Example { lines, .. } in &mut self.examples {
            while lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            let blank = lines.iter().take_while(|line| line.is_empty()).count();
            lines.drain(..blank);
        }
    }
}
